"""The last days of a task, each as the worst that happened to its fires in it."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, func, select

from chalicelib.schema import runs

DAYS = 30
DAY_MS = 86_400_000

DayStatus = Literal["dead", "failed", "missed", "running", "succeeded", "skipped", "none"]
# The worst first.
WORST: tuple[DayStatus, ...] = ("dead", "failed", "missed", "running", "succeeded", "skipped")
BAD = frozenset(WORST[:3])


@dataclass(frozen=True, kw_only=True)
class Day:
    """A day in UTC, the worst status of the runs of its fires, and how many there were of each."""

    date: date
    status: DayStatus
    counts: dict[str, int]


def read_days(connection: Connection, tasks: Collection[str], *, now: datetime) -> dict[str, tuple[Day, ...]]:
    """Return for each task its last days, the oldest first and today last."""
    today = now.astimezone(UTC).date()
    dates = [today - timedelta(days=ago) for ago in reversed(range(DAYS))]
    day = runs.c.scheduled_for // DAY_MS
    counted = (
        select(runs.c.task, day.label("day"), runs.c.status, func.count().label("number"))
        # By the index on task and moment, whatever else the history holds.
        .where(runs.c.task.in_(list(tasks)), runs.c.scheduled_for >= DAY_MS * _number(dates[0]))
        .group_by(runs.c.task, day, runs.c.status)
    )
    counts: defaultdict[tuple[str, int], dict[str, int]] = defaultdict(dict)
    for row in connection.execute(counted):
        counts[row.task, row.day][row.status] = row.number
    return {task: tuple(_day(each, counts[task, _number(each)]) for each in dates) for task in tasks}


def _number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _day(day: date, counts: dict[str, int]) -> Day:
    return Day(date=day, status=next((each for each in WORST if each in counts), "none"), counts=counts)
