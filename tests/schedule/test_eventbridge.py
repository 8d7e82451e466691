"""EventBridge fires whenever a schedule is due, told in the words that it takes."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chalicelib.core.errors import ConfigurationError
from chalicelib.schedule.eventbridge import rule_of
from chalicelib.schedule.schedule import Schedule
from tests.sweep import examples

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "America/Santiago",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Asia/Beirut",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Pacific/Pago_Pago",
)
NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class AwsCron:
    """EventBridge's cron, as its documentation describes it, for what we say in it."""

    def __init__(self, expression: str) -> None:
        assert expression.startswith("cron(")
        assert expression.endswith(")")
        assert len(expression) <= 256
        minute, hour, day, month, weekday, year = expression[5:-1].split()
        assert year == "*"
        # One of the two must be a question mark, and only one.
        assert (day == "?") != (weekday == "?")
        self.minutes, self.hours = self._set(minute, 0, 59), self._set(hour, 0, 23)
        self.is_last, self.months = day == "L", self._set(month, 1, 12)
        self.days = self._set("*" if self.is_last else day, 1, 31)
        self.weekdays = set(weekday.split(",")) if weekday not in "?*" else set(NAMES)
        assert self.weekdays <= set(NAMES)

    def _set(self, text: str, first: int, last: int) -> set[int]:
        if text in "?*":
            return set(range(first, last + 1))
        found: set[int] = set()
        for part in text.split(","):
            start, _, end = part.partition("-")
            found |= set(range(int(start), int(end or start) + 1))
        assert found <= set(range(first, last + 1))
        return found

    def fires_on(self, day: datetime) -> bool:
        name = NAMES[(day.weekday() + 1) % 7]
        is_day = (day + DAY).day == 1 if self.is_last else day.day in self.days
        return is_day and day.month in self.months and name in self.weekdays

    def fires_at(self, moment: datetime) -> bool:
        return self.fires_on(moment) and moment.hour in self.hours and moment.minute in self.minutes

    @property
    def fires_a_day(self) -> int:
        return len(self.hours) * len(self.minutes)


def due(schedule: Schedule, start: datetime, days: int) -> Iterator[datetime]:
    for moment in schedule.after(start - MINUTE):
        if moment >= start + days * DAY:
            return
        yield moment


def numbers(first: int, last: int) -> st.SearchStrategy[str]:
    one = st.integers(first, last).map(str)
    stretch = st.tuples(st.integers(first, last), st.integers(first, last)).map(lambda pair: sorted(pair))
    stepped = st.tuples(stretch, st.integers(1, last)).map(lambda it: f"{it[0][0]}-{it[0][1]}/{it[1]}")
    starred = st.integers(1, last).map(lambda step: f"*/{step}")
    several = st.lists(one | stretch.map(lambda pair: f"{pair[0]}-{pair[1]}"), min_size=1, max_size=3).map(",".join)
    return st.just("*") | one | several | stepped | starred


CRONS = st.tuples(numbers(0, 59), numbers(0, 23), numbers(1, 31), numbers(1, 12), numbers(0, 7)).map(" ".join)
# Days at which clocks change somewhere, and others.
STARTS = st.sampled_from(
    [
        datetime(2026, 1, 30, tzinfo=UTC),
        datetime(2026, 3, 6, tzinfo=UTC),
        datetime(2026, 3, 26, tzinfo=UTC),
        datetime(2026, 4, 2, tzinfo=UTC),
    ]
) | (
    st.sampled_from(
        [
            datetime(2026, 9, 3, tzinfo=UTC),
            datetime(2026, 9, 25, tzinfo=UTC),
            datetime(2026, 10, 22, tzinfo=UTC),
            datetime(2026, 10, 30, tzinfo=UTC),
        ]
    )
)


@given(cron=CRONS, zone=st.sampled_from(ZONES), start=STARTS)
@settings(max_examples=examples(150))
def test_it_fires_at_every_moment_that_is_due(cron: str, zone: str, start: datetime) -> None:
    try:
        schedule = Schedule(f"{cron} {zone}")
    except ConfigurationError:
        assume(False)
    rule = AwsCron(rule_of(schedule, now=NOW).expression)
    for moment in due(schedule, start, 8):
        assert rule.fires_at(moment)
        assert schedule.is_due(moment)


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    days=st.sampled_from(["* * *", "* * 1-5", "1 * *", "31 * *", "1 * 1", "*/2 * 1", "29 2 *"]),
    zone=st.sampled_from(ZONES),
)
@settings(max_examples=examples(100))
def test_of_one_time_a_day_no_more_than_eight_fires_a_day_are_dropped_and_the_rule_says_how_many(
    minute: int, hour: int, days: str, zone: str
) -> None:
    schedule = Schedule(f"{minute} {hour} {days} {zone}")
    rule = rule_of(schedule, now=NOW)
    aws = AwsCron(rule.expression)
    assert rule.surplus <= 8
    start = datetime(2026, 3, 1, tzinfo=UTC)
    wanted = list(due(schedule, start, 62))
    for n in range(62):
        day = start + n * DAY
        fires = aws.fires_a_day if aws.fires_on(day) else 0
        dropped = fires - sum(day <= moment < day + DAY for moment in wanted)
        assert dropped <= rule.surplus


@pytest.mark.parametrize(
    ("text", "expression", "surplus"),
    [
        ("0 8 * * *", "cron(0 8 * * ? *)", 0),
        ("0 9 1 * *", "cron(0 9 1 * ? *)", 0),
        ("*/15 * * * *", "cron(0,15,30,45 * * * ? *)", 0),
        ("* * * * *", "cron(* * * * ? *)", 0),
        ("0 8 * * 1-5", "cron(0 8 ? * MON,TUE,WED,THU,FRI *)", 0),
        ("0 8 * * 7", "cron(0 8 ? * SUN *)", 0),
        ("0 8 * JAN,jul sun", "cron(0 8 ? 1,7 SUN *)", 0),
        # Either day: every day is asked.
        ("0 8 1 * 1", "cron(0 8 * * ? *)", 1),
        # Both, since one begins with a star.
        ("0 8 */2 * 1", "cron(0 8 ? * MON *)", 1),
        ("0 8 * * * Europe/Berlin", "cron(0 6,7 * * ? *)", 1),
        # On the day on which the clocks go back, UTC's day has none: one came an hour before it, the next after it.
        ("0 1 * * * Europe/Berlin", "cron(0 0,23 * * ? *)", 2),
        # Two times that the clocks skip are one fire, and where they run through, none.
        ("0,30 2 * * * Europe/Berlin", "cron(0,30 0,1 * * ? *)", 3),
        ("*/15 2 * * * Europe/Berlin", "cron(0,15,30,45 0,1 * * ? *)", 8),
        # What the clocks skip comes as soon as they have: at 03:00, which is 01:00 in UTC.
        ("30 2 * * * Europe/Berlin", "cron(0,30 0,1 * * ? *)", 3),
        ("0 0 1 * * Europe/Berlin", "cron(0 22,23 L * ? *)", 1),
        ("0 0 1,15 * * Europe/Berlin", "cron(0 22,23 14,28-31 * ? *)", 2),
        # Of the two day fields, that of fewer days.
        ("0 0 22 1 */5", "cron(0 0 22 1 ? *)", 1),
        ("0 8 */3 * 1", "cron(0 8 ? * MON *)", 1),
        # The clocks of January alone, and no month beside it.
        ("0 0 22 1 * Europe/Berlin", "cron(0 23 21 1 ? *)", 0),
        ("0 0 1 1 * Europe/Berlin", "cron(0 23 31 12 ? *)", 0),
        ("0 0 29 2 */7", "cron(0 0 29 2 ? *)", 1),
        ("0 0 * * 1 Asia/Tokyo", "cron(0 15 ? * SUN *)", 0),
        ("@daily Asia/Kolkata", "cron(30 18 * * ? *)", 0),
        ("every 15 minutes", "rate(15 minutes)", 0),
        ("every minute", "rate(1 minute)", 0),
        ("every 120 minutes", "rate(2 hours)", 0),
        ("every day", "rate(1 day)", 0),
    ],
)
def test_the_expression_is_the_plainest_that_will_do(text: str, expression: str, surplus: int) -> None:
    rule = rule_of(Schedule(text), now=NOW)
    assert (rule.expression, rule.surplus) == (expression, surplus)


def test_every_zone_has_a_rule_for_a_time_that_its_clocks_may_skip() -> None:
    for zone in ZONES:
        schedule = Schedule(f"30 0,2 * * * {zone}")
        aws = AwsCron(rule_of(schedule, now=NOW).expression)
        for year in (2026, 2030, 2035):
            start = datetime(year, 1, 1, tzinfo=UTC)
            assert all(aws.fires_at(moment) for moment in due(schedule, start, 365)), (zone, year)
        assert ZoneInfo(zone) == schedule.zone
