"""Moments as people type them: by a zone of their own, or by the clock of a task's."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.clock import iso
from nightshift.cli.options import read_end, read_time

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-02-01T09:00", "2026-02-01T08:00:00Z"),
        ("2026-02-01 09:00:30", "2026-02-01T08:00:30Z"),
        ("2026-02-01T09:00Z", "2026-02-01T09:00:00Z"),
        ("2026-02-01T09:00:00-05:00", "2026-02-01T14:00:00Z"),
        # The clocks repeat it, and a schedule is due the first time.
        ("2026-10-25T02:30", "2026-10-25T00:30:00Z"),
    ],
)
def test_a_moment_is_by_its_own_zone_or_else_by_the_tasks(text: str, moment: str) -> None:
    assert iso(read_time(text, BERLIN)) == iso(read_end(text, BERLIN)) == moment


@pytest.mark.parametrize(
    ("zone", "day", "first", "last"),
    [
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z"),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z"),
        # Its clocks skip midnight, so that the day begins at one.
        ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00:00Z", "2026-03-29T20:59:59Z"),
        ("UTC", "2026-12-31", "2026-12-31T00:00:00Z", "2026-12-31T23:59:59Z"),
    ],
)
def test_a_day_is_its_first_moment_or_its_last_second(zone: str, day: str, first: str, last: str) -> None:
    assert iso(read_time(day, ZoneInfo(zone))) == first
    assert iso(read_end(day, ZoneInfo(zone))) == last


def test_what_the_clocks_skip_is_refused_with_a_way_out() -> None:
    for read in (read_time, read_end):
        with pytest.raises(ValueError, match=r"2026-03-29T02:30 does not exist in Europe/Berlin: .* Use UTC"):
            read("2026-03-29T02:30", BERLIN)


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-02-30", "2026-02-01T25:00", "9999-12-31", "0001-01-01"])
def test_what_is_no_moment_is_named(text: str) -> None:
    for read in (read_time, read_end):
        with pytest.raises(ValueError, match="is not a time: use 2026-02-01T09:00"):
            read(text, BERLIN)


@given(st.text() | st.datetimes().map(str) | st.dates().map(str))
def test_any_text_is_a_moment_in_utc_or_refused(text: str) -> None:
    for read in (read_time, read_end):
        try:
            moment = read(text, BERLIN)
        except ValueError as refused:
            assert len(str(refused)) < 200  # noqa: PT017 (some texts are moments)
            continue
        assert moment.tzinfo is UTC
        assert 1969 <= moment.year <= 9998
        # The first hours of 1970 in Berlin are of 1969 in UTC, and refused as such.
        assert moment < datetime(1970, 1, 1, tzinfo=UTC) or read_time(moment.isoformat(), BERLIN) == moment
