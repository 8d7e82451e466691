"""Calendar months: how they are written, what follows what, and when they begin and end in a zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.clock import from_ms, to_ms
from chalicelib.tasks.monthly_report.month import Month

BERLIN = ZoneInfo("Europe/Berlin")
# Asunción and Havana have moved their clocks at a midnight that begins a month.
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "America/Asuncion", "America/Havana"]
HOUR_MS = 3_600_000

MONTHS = st.builds(Month, year=st.integers(1971, 9997), month=st.integers(1, 12))


@given(MONTHS)
def test_a_month_reads_back_from_what_it_writes(month: Month) -> None:
    assert Month.parse(str(month)) == month


@pytest.mark.parametrize(
    "text",
    [
        *("2026-2", "2026-00", "2026-13", "0000-01", "1969-12", "9999-01", "26-02", "2026-02-01", "2026/02"),
        *(" 2026-02", "2026-02\n", "2026-02 ", "٢٠٢٦-02", "2026-٠٢", "-2026-02", "February 2026", "202602", ""),
    ],
)
def test_anything_else_is_no_month_and_a_sentence_says_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"^A month is written like 2026-02, not '|is not a month between.*\.$"):
        Month.parse(text)


@given(MONTHS)
def test_the_month_after_the_one_before_is_the_month_itself(month: Month) -> None:
    assert month.previous().next() == month == month.next().previous()
    assert month.previous() < month < month.next()


def test_years_turn_after_december() -> None:
    assert str(Month.parse("2025-12").next()) == "2026-01"
    assert str(Month.parse("2026-01").previous()) == "2025-12"


def test_people_read_its_name() -> None:
    assert Month.parse("2026-02").name == "February 2026"


@pytest.mark.parametrize(
    ("written", "zone", "start", "hours"),
    [
        ("2026-02", "UTC", "2026-02-01T00:00", 28 * 24),
        ("2028-02", "UTC", "2028-02-01T00:00", 29 * 24),
        ("2026-12", "UTC", "2026-12-01T00:00", 31 * 24),
        ("2026-03", "Europe/Berlin", "2026-02-28T23:00", 31 * 24 - 1),
        ("2026-10", "Europe/Berlin", "2026-09-30T22:00", 31 * 24 + 1),
        ("2026-07", "Asia/Kathmandu", "2026-06-30T18:15", 31 * 24),
        # Clocks went from 00:00 to 01:00 on 1 October: the month began at 01:00.
        ("2017-10", "America/Asuncion", "2017-10-01T04:00", 31 * 24 - 1),
        # Clocks went from 01:00 back to 00:00 on 1 November: it began at the first of two midnights.
        ("2015-11", "America/Havana", "2015-11-01T04:00", 30 * 24 + 1),
    ],
)
def test_a_month_has_as_many_hours_as_the_clocks_of_its_zone_give_it(
    written: str, zone: str, start: str, hours: int
) -> None:
    start_ms, end_ms = Month.parse(written).window(ZoneInfo(zone))
    assert from_ms(start_ms) == datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert (end_ms - start_ms) / HOUR_MS == hours


@given(month=MONTHS, zone=st.sampled_from(ZONES).map(ZoneInfo))
def test_consecutive_months_meet_without_gap_or_overlap(month: Month, zone: ZoneInfo) -> None:
    start_ms, end_ms = month.window(zone)
    assert start_ms < end_ms == month.next().window(zone)[0]


@given(moment=st.integers(31_536_000 * 2, 4_102_444_800), zone=st.sampled_from(ZONES).map(ZoneInfo))
def test_the_latest_month_that_has_ended_is_closed_and_the_one_after_it_is_not(moment: int, zone: ZoneInfo) -> None:
    at = datetime.fromtimestamp(moment, UTC)
    ended = Month.ended_before(at, zone)
    assert ended.is_closed(at, zone)
    assert not ended.next().is_closed(at, zone)
    assert ended.window(zone)[1] <= to_ms(at) < ended.next().window(zone)[1]


@pytest.mark.parametrize(("since_end", "latest"), [(0, "2026-02"), (-1, "2026-01")])
def test_a_month_ends_at_the_midnight_of_its_own_zone(since_end: int, latest: str) -> None:
    midnight = datetime(2026, 2, 28, 23, tzinfo=UTC)
    at = midnight + timedelta(milliseconds=since_end)
    assert str(Month.ended_before(at, BERLIN)) == latest
    assert Month.parse("2026-02").is_closed(at, BERLIN) == (latest == "2026-02")
    assert str(Month.ended_before(at, ZoneInfo("UTC"))) == "2026-01"


@pytest.mark.parametrize(("year", "month"), [(2026, 0), (2026, 13), (1969, 12), (9999, 1)])
def test_no_month_can_be_made_that_could_not_be_written(year: int, month: int) -> None:
    with pytest.raises(ValueError, match="is not a month"):
        Month(year=year, month=month)
