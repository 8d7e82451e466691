"""A task's last days in words: what a mark says to whoever points at it, and all of them to whoever cannot see them."""

from collections.abc import Sequence
from datetime import datetime

from chalicelib.operate.status.days import BAD, WORST, Day
from chalicelib.operate.status.words import day, some

# Bad days that are named beside the marks.
NAMED = 3
# What stands in a mark that another of its shape could be taken for, were colour all that tells.
LETTERS = {"dead": "D", "failed": "F"}


def title(of: Day) -> str:
    """Return a day with all that became of its fires: Tue 24 Nov: 1 failed, 95 succeeded."""
    counted = ", ".join(f"{of.counts[status]:,} {status}" for status in WORST if status in of.counts)
    return f"{of.date:%a} {of.date.day} {of.date:%b}: {counted or 'no run'}"


def summary(days: Sequence[Day], *, now: datetime) -> str:
    """Return the days in one sentence: The last 30 days: dead on 24 Nov; 28 days succeeded; 1 day none."""
    bad = [f"{status} on {', '.join(_dates(days, status, now=now))}" for status in WORST if status in BAD & _of(days)]
    rest = {status: sum(each.status == status for each in days) for status in (*WORST, "none")}
    good = [f"{some(number, 'day')} {status}" for status, number in rest.items() if number and status not in BAD]
    return f"The last {len(days)} days: {'; '.join(bad + good)}."


def troubles(days: Sequence[Day], *, now: datetime) -> str:
    """Return the bad days by what happened, the latest by date: dead on 24 Nov; failed on 9 Nov, 3 Nov and 2 more."""
    told = []
    for status in WORST:
        if status in BAD and (dates := _dates(days, status, now=now)):
            more = f" and {len(dates) - NAMED} more" if len(dates) > NAMED else ""
            told.append(f"{status} on {', '.join(dates[:NAMED])}{more}")
    return "; ".join(told)


def _of(days: Sequence[Day]) -> frozenset[str]:
    return frozenset(each.status for each in days)


def _dates(days: Sequence[Day], status: str, *, now: datetime) -> list[str]:
    """Return the days of a status, the latest first."""
    return [day(each.date, now=now) for each in reversed(days) if each.status == status]
