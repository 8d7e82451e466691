"""Schedules are due exactly when good cron would fire in their zone, and nonsense gets a sentence."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from chalicelib.core.errors import ConfigurationError
from chalicelib.schedule.schedule import Schedule


def local(schedule: Schedule, start: str, *, count: int) -> list[str]:
    """Return the next due moments as the zone's clocks show them."""
    moment = datetime.fromisoformat(start).replace(tzinfo=schedule.zone)
    return [f"{due.astimezone(schedule.zone):%a %d %b %H:%M %z}" for due in schedule.next(moment, count=count)]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("0 8 * * *", ["Mon 02 Mar 08:00", "Tue 03 Mar 08:00", "Wed 04 Mar 08:00"]),
        ("0 8 * * 1-5", ["Mon 02 Mar 08:00", "Tue 03 Mar 08:00", "Wed 04 Mar 08:00"]),
        ("0 8 * * 0", ["Sun 08 Mar 08:00", "Sun 15 Mar 08:00", "Sun 22 Mar 08:00"]),
        ("0 8 * * 7", ["Sun 08 Mar 08:00", "Sun 15 Mar 08:00", "Sun 22 Mar 08:00"]),
        ("0 8 * * sat,SUN", ["Sat 07 Mar 08:00", "Sun 08 Mar 08:00", "Sat 14 Mar 08:00"]),
        ("*/20 9-10/1 * * *", ["Mon 02 Mar 09:00", "Mon 02 Mar 09:20", "Mon 02 Mar 09:40"]),
        ("5/25 12 * * *", ["Mon 02 Mar 12:05", "Mon 02 Mar 12:30", "Mon 02 Mar 12:55"]),
        # Either of two restricted days, both where one begins with a star.
        ("0 0 13 * 5", ["Fri 06 Mar 00:00", "Fri 13 Mar 00:00", "Fri 20 Mar 00:00"]),
        ("0 0 */2 * 5", ["Fri 13 Mar 00:00", "Fri 27 Mar 00:00", "Fri 03 Apr 00:00"]),
        ("0 0 1 * *", ["Wed 01 Apr 00:00", "Fri 01 May 00:00", "Mon 01 Jun 00:00"]),
        ("0 0 31 * *", ["Tue 31 Mar 00:00", "Sun 31 May 00:00", "Fri 31 Jul 00:00"]),
        ("0 0 * jul *", ["Wed 01 Jul 00:00", "Thu 02 Jul 00:00", "Fri 03 Jul 00:00"]),
        ("0 0 29 2 *", ["Tue 29 Feb 00:00", "Sun 29 Feb 00:00", "Fri 29 Feb 00:00"]),
        ("@hourly", ["Mon 02 Mar 01:00", "Mon 02 Mar 02:00", "Mon 02 Mar 03:00"]),
        ("@weekly", ["Sun 08 Mar 00:00", "Sun 15 Mar 00:00", "Sun 22 Mar 00:00"]),
    ],
)
def test_every_form_of_unix_is_understood(cron: str, expected: list[str]) -> None:
    assert [moment[:16] for moment in local(Schedule(cron), "2026-03-02T00:30", count=3)] == expected


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        # Clocks go from 02:00 to 03:00 on 29 March: once that day, as soon as they have.
        (
            "30 2 * * * Europe/Berlin",
            "2026-03-28T03:00",
            ["Sun 29 Mar 03:00 +0200", "Mon 30 Mar 02:30 +0200"],
        ),
        # Two skipped times are one fire.
        ("0,30 2 * * * Europe/Berlin", "2026-03-29T01:00", ["Sun 29 Mar 03:00 +0200", "Mon 30 Mar 02:00 +0200"]),
        # From 03:00 back to 02:00 on 25 October: the first of the two.
        ("30 2 * * * Europe/Berlin", "2026-10-24T03:00", ["Sun 25 Oct 02:30 +0200", "Mon 26 Oct 02:30 +0100"]),
        # What runs through has an hour more or less.
        (
            "30 * * * * Europe/Berlin",
            "2026-10-25T01:00",
            ["Sun 25 Oct 01:30 +0200", "Sun 25 Oct 02:30 +0200", "Sun 25 Oct 02:30 +0100", "Sun 25 Oct 03:30 +0100"],
        ),
        ("30 * * * * Europe/Berlin", "2026-03-29T01:00", ["Sun 29 Mar 01:30 +0100", "Sun 29 Mar 03:30 +0200"]),
        # Half an hour is skipped on Lord Howe, and midnight itself in Santiago.
        ("15 2 * * * Australia/Lord_Howe", "2026-10-04T00:00", ["Sun 04 Oct 02:30 +1100", "Mon 05 Oct 02:15 +1100"]),
        ("0 0 * * * America/Santiago", "2026-09-05T12:00", ["Sun 06 Sep 01:00 -0300", "Mon 07 Sep 00:00 -0300"]),
    ],
)
def test_the_clocks_of_the_zone_are_followed(text: str, start: str, expected: list[str]) -> None:
    assert local(Schedule(text), start, count=len(expected)) == expected


def test_a_moment_is_due_whatever_its_seconds_and_zone_and_its_neighbours_are_not() -> None:
    schedule = Schedule("0 8 * * * Europe/Berlin")
    due = datetime(2026, 7, 1, 8, 0, 31, tzinfo=ZoneInfo("Europe/Berlin"))
    assert schedule.is_due(due)
    assert schedule.is_due(due.astimezone(UTC))
    assert not schedule.is_due(due + timedelta(minutes=1))
    assert not schedule.is_due(due - timedelta(minutes=1))


def test_a_repeated_time_is_due_the_first_time_only() -> None:
    schedule = Schedule("30 2 * * * Europe/Berlin")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert schedule.is_due(first)
    assert not schedule.is_due(first + timedelta(hours=1))
    assert schedule.next(first + timedelta(minutes=40), count=1) == [datetime(2026, 10, 26, 1, 30, tzinfo=UTC)]


def test_an_interval_is_due_whenever_it_fires_and_nobody_knows_when_that_is() -> None:
    schedule = Schedule("every 15 minutes")
    assert schedule.every == timedelta(minutes=15)
    assert schedule.is_due(datetime(2026, 1, 1, 0, 7, tzinfo=UTC))
    assert schedule.next(datetime(2026, 1, 1, tzinfo=UTC), count=3) == []


def test_of_the_moments_between_two_the_newest_are_kept() -> None:
    schedule = Schedule("0 8 * * *")
    first, last = datetime(2026, 3, 1, 8, tzinfo=UTC), datetime(2026, 3, 9, 8, tzinfo=UTC)
    days = [due.day for due in schedule.between(first, last, limit=3)]
    assert days == [7, 8, 9]
    assert len(schedule.between(first, last, limit=100)) == 8
    assert schedule.between(first, last, limit=0) == []


@pytest.mark.parametrize(
    ("text", "moment", "before"),
    [
        ("0 8 * * *", "2026-03-02T08:00", "2026-03-01T08:00"),
        ("0 8 * * *", "2026-03-02T08:00:01", "2026-03-02T08:00"),
        # A week of 167 hours.
        ("0 9 * * 1 Europe/Berlin", "2026-03-30T07:00", "2026-03-23T08:00"),
        ("0 0 29 2 *", "2028-02-29T00:00", "2024-02-29T00:00"),
        ("every 2 hours", "2026-03-02T08:01", "2026-03-02T06:01"),
    ],
)
def test_what_was_due_last_before_a_moment_is_known(text: str, moment: str, before: str) -> None:
    at, expected = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (moment, before))
    assert Schedule(text).before(at) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("61 * * * *", "'61' is not a valid minute; use 0-59"),
        ("0 24 * * *", "'24' is not a valid hour; use 0-23"),
        ("0 0 0 * *", "'0' is not a valid day of month; use 1-31"),
        ("0 0 * 13 *", "'13' is not a valid month; use 1-12 or JAN-DEC"),
        ("0 0 * * 8", "'8' is not a valid day of week; use 0-7 or SUN-SAT, both 0 and 7 Sunday"),
        ("0 0 * MON *", "'MON' is not a valid month; use 1-12 or JAN-DEC"),
        ("60-61 * * * *", "'60-61' is not a valid minute; use 0-59"),
        ("61-61/2 * * * *", "'61-61/2' is not a valid minute; use 0-59"),
        ("30-10 * * * *", "'30-10' is not a valid minute: ranges go upwards; write 30-59,0-10 for 30-10"),
        ("0 22-2 * * *", "'22-2' is not a valid hour: ranges go upwards; write 22-23,0-2 for 22-2"),
        ("0 9,23-0 * * *", "'9,23-0' is not a valid hour: ranges go upwards; write 23,0 for 23-0"),
        ("0 22-2/2 * * *", "'22-2/2' is not a valid hour: ranges go upwards"),
        ("0 0 * nov-Feb *", "'NOV-FEB' is not a valid month: ranges go upwards; write NOV-DEC,JAN-FEB for NOV-FEB"),
        ("0 0 * * FRI-SUN", "'FRI-SUN' is not a valid day of week: ranges go upwards; write FRI-SAT,SUN for FRI-SUN"),
        ("0 0 * * 5-1", "'5-1' is not a valid day of week: ranges go upwards; write 5-7,0-1 for 5-1"),
        ("*/0 * * * *", "'*/0' is not a valid minute; use 0-59"),
        ("0 0 L * *", "'L' is not a valid day of month; use 1-31"),
        ("0 0 LW * *", "'LW' is not a valid day of month; use 1-31"),
        ("0 0 * * 5L", "'5L' is not a valid day of week; use 0-7 or SUN-SAT, both 0 and 7 Sunday"),
        ("0 0 * * MON#2", "'MON#2' is not a valid day of week; use 0-7 or SUN-SAT, both 0 and 7 Sunday"),
        ("0 0 ? * *", "'?' is not a valid day of month; use 1-31"),
        ("0 0 31 2 *", "day of month 31 never occurs in month 2"),
        ("0 0 31 4,6,9,11 *", "day of month 31 never occurs in month 4,6,9,11"),
        ("0 8 * * * Europe/Bonn", "'Europe/Bonn' is not a time zone; use an IANA name such as Europe/Berlin"),
        ("@daily Europe/Bonn", "'Europe/Bonn' is not a time zone; use an IANA name such as Europe/Berlin"),
        ("0 8 * * * ../../etc/passwd", "'../../etc/passwd' is not a time zone; use an IANA name such as"),
        ("@reboot", "@reboot is not one of @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually"),
        ("0 8 * *", "it needs five fields (minute, hour, day of month, month, day of week)"),
        ("", "it needs five fields"),
        ("every 0 minutes", 'write an interval as "every 15 minutes", with 1 to 9999 minutes, hours or days'),
        (
            "Every 15 seconds",
            'write an interval as "every 15 minutes", with 1 to 9999',
        ),
        ("every", "write an interval as"),
        (
            "every 15 minutes Europe/Berlin",
            "an interval has no time zone, since it starts at the deployment",
        ),
        ("0 8 * * ſun", "'ſUN' is not a valid day of week; use 0-7"),
        ("0 8 * * * TZ=Europe/Berlin", "'TZ=Europe/Berlin' is not a time zone; write Europe/Berlin"),
        ("TZ=Europe/Berlin 0 8 * * *", 'the time zone comes last; write "0 8 * * * Europe/Berlin"'),
        ("CRON_TZ=UTC 0 8 * * *", 'the time zone comes last; write "0 8 * * * UTC"'),
        ("TZ=Europe/Berlin", 'the time zone comes last; write "0 8 * * * Europe/Berlin"'),
        ("cron(0 8 * * ? *)", "'CRON(0' is not a valid minute; use 0-59"),
    ],
)
def test_nonsense_is_refused_with_the_field_and_the_reason(text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Schedule(text)
    assert sentence in str(refused.value)
    assert repr(text) in str(refused.value)


def test_what_is_too_long_to_be_a_schedule_is_refused_by_its_length_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as refused:
        Schedule(f"{'9' * 5000} * * * *")
    assert str(refused.value) == "a schedule has at most 1000 characters; '99999999999999999999'… has 5008"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("5-5/2 * * * *", "5 * * * *"),
        ("05-5/2 * * * *", "5 * * * *"),
        ("7,5-05/02 * * * *", "5,7 * * * *"),
        ("0 02-2/3 * * *", "0 2 * * *"),
        ("0 0 * JAN-1/2 *", "0 0 * 1 *"),
        ("0 0 * 01-jan/2 *", "0 0 * 1 *"),
        ("0 0 * * SUN-0/2", "0 0 * * 0"),
        ("0 0 * * 7-7/2", "0 0 * * 0"),
        # Both ends of the week are a Sunday, and yet there is all of it between them.
        ("0 0 * * SUN-7/2", "0 0 * * 0,2,4,6"),
        ("0 0 * * 0-7/7", "0 0 * * 0"),
        # Without an end it goes on to Saturday.
        ("0 0 * * 1/2", "0 0 * * 1,3,5"),
        ("0 0 * * MON/2,SAT/1", "0 0 * * 1,3,5,6"),
        ("0 0 * * 0/3", "0 0 * * 0,3,6"),
        ("0 0 * * 7/2", "0 0 * * 0"),
    ],
)
def test_a_step_goes_nowhere_from_a_range_of_one_however_its_ends_are_spelt(text: str, same: str) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    assert Schedule(text).next(start, count=50) == Schedule(same).next(start, count=50)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("0 8 * * *", "0 8 * * * UTC"),
        ("0 0 * * *", "@daily"),
        ("0 8 * * MON-FRI", "00 08 * * 1,2,3,4,5"),
        ("0 8 * * 7", "0 8 * * sun"),
        ("*/20 * * * *", "*/20 0-23 * * *"),
        ("0 8 1-31 * 1", "0 8 * * *"),
        ("every hour", "every 60 minutes"),
    ],
)
def test_schedules_are_equal_that_mean_the_same(text: str, same: str) -> None:
    assert Schedule(text) == Schedule(same)
    assert hash(Schedule(text)) == hash(Schedule(same))


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("0 8 * * *", "0 8 * * * Europe/Berlin"),
        ("0 8 13 * 5", "0 8 */13 * 5"),
        # They differ where the clocks change.
        ("* 2 * * * Europe/Berlin", "0-59 2 * * * Europe/Berlin"),
        ("0 * * * *", "every hour"),
    ],
)
def test_schedules_differ_that_are_due_at_other_moments(text: str, other: str) -> None:
    assert Schedule(text) != Schedule(other)


@pytest.mark.parametrize("text", ["every 15 minutes", "Every 15 minute", " EVERY  15  MINUTES "])
def test_an_interval_may_be_written_in_any_case(text: str) -> None:
    assert (Schedule(text).every, Schedule(text).words) == (timedelta(minutes=15), "Every 15 minutes")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("every 1 hour", "Every hour"),
        ("every days", "Every day"),
        ("0 0 31 * *", "At 00:00 on the 31st day of every month"),
        ("*/12 * * * *", "Every 12th minute of every hour"),
        ("2-59/3 * * * *", "Every third minute from 2 through 59 of every hour"),
        ("0 9 */2 * *", "At 09:00 on every second day of month"),
        # Every 42nd minute it is not, nor every 31st day.
        ("*/42 * * * *", "At minutes 0 and 42 of every hour"),
        ("*/60 * * * *", "At the start of every hour"),
        ("*/29 3/23 */13 * *", "At 03:00, 03:29, and 03:58 on the first, the 14th, and the 27th day of month"),
        ("5 */24 * * *", "At 00:05 every day"),
        ("0 9 */31 * *", "At 09:00 on the first day of every month"),
        ("0 9 */16 * *", "At 09:00 on the first and the 17th day of month"),
        ("0 9 */16 * 1", "At 09:00 on the first and the 17th day of month if it's on Monday"),
        ("0 9 * * */6", "At 09:00 on Sunday and Saturday"),
        ("0 0 * * 1/2", "At 00:00 on Monday, Wednesday, and Friday"),
        ("0 9 * 6-8 *", "At 09:00 every day in June, July, and August"),
        ("0 9 1 */3 0-6", "At 09:00 every day in January, April, July, and October"),
        ("0 9 1 */12 *", "At 09:00 on January 1"),
        ("0 0 1 * *", "At 00:00 on the first day of every month"),
        # Either day is enough, and one of them takes every day, …
        ("0 8 1-31 * 1", "At 08:00 every day"),
        ("0 8 1/1 2 5", "At 08:00 every day in February"),
        ("0 8 15 * 0/1", "At 08:00 every day"),
        ("0 8 15 * 1-7", "At 08:00 every day"),
        # … neither does, or both must be.
        ("0 8 1-30 * 1", "At 08:00 on every day of month from 1 through 30 and on Monday"),
        ("0 8 */2 * 0-6", "At 08:00 on every second day of month if it's on Sunday through Saturday"),
        ("0 8 1-31 * *", "At 08:00 every day"),
    ],
)
def test_it_is_told_in_english(text: str, words: str) -> None:
    assert Schedule(text).words == words
