"""A task's last days in words: what a mark says to whoever points at it, and all of them to whoever cannot see them."""

from collections.abc import Sequence
from datetime import UTC, datetime

from chalicelib.status.days import BAD, WORST, Day
from chalicelib.status.words import date, some

# Bad days that are named beside the marks.
NAMED = 3
# What stands in a mark, so that its colour is not all that tells.
LETTERS = {"dead": "D", "failed": "F", "missed": "M", "running": "R"}


def title(day: Day) -> str:
    """Return a day with all that became of its fires: Tue 24 Nov: 1 failed, 95 succeeded."""
    counted = ", ".join(f"{day.counts[status]:,} {status}" for status in WORST if status in day.counts)
    return f"{day.date:%a} {day.date.day} {day.date:%b}: {counted or 'no run'}"


def summary(days: Sequence[Day], *, now: datetime) -> str:
    """Return the days in one sentence: The last 30 days: dead on 24 Nov; 28 days succeeded; 1 day none."""
    bad = [f"{status} on {', '.join(_dates(days, status, now=now))}" for status in WORST if status in BAD & _of(days)]
    rest = {status: sum(day.status == status for day in days) for status in (*WORST, "none")}
    good = [f"{some(number, 'day')} {status}" for status, number in rest.items() if number and status not in BAD]
    return f"The last {len(days)} days: {'; '.join(bad + good)}."


def troubles(days: Sequence[Day], *, now: datetime) -> str:
    """Return the bad days by what happened, the latest ones by date: dead on 24 Nov; failed on 9 Nov, 3 Nov and 2 more."""
    told = []
    for status in WORST:
        if status in BAD and (dates := _dates(days, status, now=now)):
            more = f" and {len(dates) - NAMED} more" if len(dates) > NAMED else ""
            told.append(f"{status} on {', '.join(dates[:NAMED])}{more}")
    return "; ".join(told)


def _of(days: Sequence[Day]) -> frozenset[str]:
    return frozenset(day.status for day in days)


def _dates(days: Sequence[Day], status: str, *, now: datetime) -> list[str]:
    """Return the days of a status, the latest first."""
    found = [day.date for day in reversed(days) if day.status == status]
    return [date(datetime(each.year, each.month, each.day, tzinfo=UTC), now=now) for each in found]
