"""Made-up cron text in zones all over: two years of fires, against engines that share nothing with ours.

With SWEEP=1 each expression is tried in every zone, and otherwise in one or two.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from random import Random

import pytest

from chalicelib.core.errors import ConfigurationError
from chalicelib.schedule.eventbridge import rule_of
from chalicelib.schedule.schedule import Schedule
from tests.schedule.aws import AwsCron
from tests.schedule.clocks import Stretch, stretches_of
from tests.schedule.expressions import daily, expression, usual
from tests.schedule.minutes import A_DAY, DAYS, counts_by_day, members, part
from tests.schedule.unix import UnixCron
from tests.sweep import IS_SWEEP

# Each from when something happened there, or else from now on.
ZONES = {
    "UTC": date(2026, 1, 1),
    "Europe/Berlin": date(2026, 1, 1),
    "Europe/Dublin": date(2026, 1, 1),
    "America/New_York": date(2026, 1, 1),
    "America/St_Johns": date(2026, 1, 1),
    "America/Santiago": date(2026, 1, 1),
    "Asia/Kolkata": date(2026, 1, 1),
    "Asia/Kathmandu": date(2026, 1, 1),
    "Asia/Gaza": date(2026, 1, 1),
    "Australia/Adelaide": date(2026, 1, 1),
    "Australia/Lord_Howe": date(2026, 1, 1),
    "Pacific/Chatham": date(2026, 1, 1),
    "Pacific/Kiritimati": date(2026, 1, 1),
    # Two hours at a time.
    "Antarctica/Troll": date(2026, 1, 1),
    # Ramadan's weeks have an offset of their own.
    "Africa/Casablanca": date(2026, 1, 1),
    # Left out the 30th of December.
    "Pacific/Apia": date(2011, 6, 1),
    # Gave up summer time, and changed the clocks at midnight until then.
    "America/Sao_Paulo": date(2018, 6, 1),
    "Asia/Tehran": date(2021, 6, 1),
    # Took summer time for good, and took it up again.
    "America/Asuncion": date(2024, 1, 1),
    "Africa/Cairo": date(2022, 6, 1),
    # Moved to another offset.
    "Asia/Almaty": date(2023, 1, 1),
    "Europe/Volgograd": date(2018, 6, 1),
}
RULES = 3000 if IS_SWEEP else 200
EXPRESSIONS, DAILY = 2000, 200 if IS_SWEEP else 40
# In a zone, of the expressions; together the zones have each.
A_PART = 20
# Fires due in a window of two days, or else it is one of four hours; fires of a window that the guard is asked.
FEW, ASKED = 60, 8
# Fires due in the two years, of which all are compared.
COMPARED = 1000 if IS_SWEEP else 0


@cache
def clocks(zone: str) -> list[Stretch]:
    return stretches_of(zone, ZONES[zone])


def moment(zone: str, minute: int) -> datetime:
    return datetime.combine(ZONES[zone], time(), UTC) + timedelta(minutes=minute)


def some_now(zone: str, random: Random) -> datetime:
    """Return when the rule is made: up to eight years before the two, since it is to be right for ten."""
    return moment(zone, -random.randrange(8) * 365 * A_DAY)


@cache
def expressions() -> list[str]:
    random = Random(0)
    return [expression(random) for _ in range(EXPRESSIONS)]


def expressions_for(zone: str) -> list[str]:
    every, remainder = (1, 0) if IS_SWEEP else (A_PART, list(ZONES).index(zone) % A_PART)
    return expressions()[remainder::every]


def windows(zone: str, due: int, random: Random) -> Iterator[tuple[int, int]]:
    """Yield stretches of minutes to look at closely: all of them, or around the clocks' changes, and others."""
    if due.bit_count() <= COMPARED:
        yield 0, DAYS * A_DAY
    changes = [stretch.start for stretch in clocks(zone)[1:]]
    places = changes if IS_SWEEP or not changes else [random.choice(changes)]
    for place in (*places, random.randrange(2 * A_DAY, (DAYS - 2) * A_DAY)):
        first, end = place - 26 * 60, place + 26 * 60
        yield (first, end) if part(due, first, end).bit_count() < FEW else (place - 95, place + 125)


def shown(zone: str, minutes: int) -> str:
    """Return the first of the minutes in which two sets differ."""
    first = moment(zone, next(members(minutes)))
    return f"{first:%Y-%m-%d %H:%M} UTC"


def compare(text: str, zone: str, random: Random) -> str | None:
    """Return what is wrong with one schedule, or nothing."""
    start = ZONES[zone]
    due = UnixCron(text).due(start, clocks(zone))
    try:
        schedule = Schedule(f"{text} {zone}")
    except ConfigurationError as error:
        return f"is refused ({error}), but is due at {shown(zone, due)}" if due else None
    rule = rule_of(schedule, now=some_now(zone, random))
    fires = AwsCron(rule.expression).fires(start)
    if due & fires != due:
        return f"is due at {shown(zone, due & ~fires)}, but {rule.expression} does not fire"
    if dropped := too_many(fires ^ due, zone, rule.surplus):
        return dropped
    for window in windows(zone, due, random):
        if wrong := compare_closely(schedule, due, fires, window, random, zone):
            return wrong
    return None


def compare_closely(
    schedule: Schedule, due: int, fires: int, window: tuple[int, int], random: Random, zone: str
) -> str | None:
    first, end = window
    expected = [moment(zone, first + n) for n in members(part(due, first, end))]
    found = schedule.between(moment(zone, first - 1), moment(zone, end - 1), limit=end - first)
    if found != expected:
        return f"is due otherwise at {min(set(found) ^ set(expected))}: {len(expected)} fires, and we say {len(found)}"
    near = {first + n for n in members(part(fires, first, end))}
    asked = set(random.sample(sorted(near), min(ASKED, len(near)))) | {first + random.randrange(end - first)}
    passed = {n for n in asked if schedule.is_due(moment(zone, n))}
    if wrong := passed ^ {n for n in asked if due >> n & 1}:
        return f"is let through otherwise at {moment(zone, min(wrong))}"
    return None


def too_many(dropped: int, zone: str, surplus: int) -> str | None:
    """Return the first day that drops more than a rule says."""
    for day, count in enumerate(counts_by_day(dropped)):
        if count > surplus:
            return f"drops {count} fires on {moment(zone, day * A_DAY):%Y-%m-%d}, and says {surplus}"
    return None


def plainest(failures: Sequence[str]) -> str:
    return f"{min(failures, key=len)} ({len(failures)} in all)" if failures else ""


@pytest.mark.parametrize("zone", ZONES)
def test_the_fires_that_pass_are_those_of_another_engine_and_eventbridge_brings_each(zone: str) -> None:
    random = Random(zone)
    wrong = {text: compare(text, zone, random) for text in expressions_for(zone)}
    assert plainest([f"{text} {zone} {reason}" for text, reason in wrong.items() if reason]) == ""


@pytest.mark.parametrize("zone", ZONES)
def test_a_daily_schedule_drops_at_most_eight_fires_a_day(zone: str) -> None:
    random = Random(zone)
    for text in (daily(random) for _ in range(DAILY)):
        with suppress(ConfigurationError):
            assert rule_of(Schedule(f"{text} {zone}"), now=some_now(zone, random)).surplus <= 8, text


# Fires that a rule brings for one that is due: on average over random text, and at most. Text of which two fields
# restrict the days costs more, since EventBridge restricts one.
@pytest.mark.parametrize(("kind", "mean", "most"), [(usual, 3, 32), (daily, 4, 64), (expression, 5, 128)])
def test_a_rule_fires_seldom_in_vain(kind: Callable[[Random], str], mean: float, most: float) -> None:
    random, shares = Random(0), {}
    for _ in range(RULES):
        zone = random.choice([zone for zone, start in ZONES.items() if start.year == 2026])
        text = kind(random)
        due = UnixCron(text).due(ZONES[zone], clocks(zone)).bit_count()
        # What is due once or twice in two years says little.
        if due > 4:
            rule = rule_of(Schedule(f"{text} {zone}"), now=moment(zone, 0))
            shares[f"{text} {zone} {rule.expression}"] = AwsCron(rule.expression).fires(ZONES[zone]).bit_count() / due
    assert sum(shares.values()) / len(shares) <= mean
    worst = max(shares, key=lambda text: shares[text])
    assert shares[worst] <= most, worst
