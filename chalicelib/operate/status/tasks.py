"""The status of tasks: next fires, pauses, and the results of the latest runs."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection, func, select

from chalicelib.core.clock import from_ms
from chalicelib.core.pauses import Pause, of_task
from chalicelib.operate.status.runs import Latest, Run, read_durations, read_latest
from chalicelib.runs import catch_up
from chalicelib.runs.claims import MissedReason
from chalicelib.runs.task import find_task
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import runs
from chalicelib.schema import schedules as schedules_table

NEXT = 3
# Three times the interval of the watch.
WATCH_LATE = timedelta(minutes=15)

DAYS = 30
DAY_MS = 86_400_000

DayStatus = Literal["dead", "failed", "missed", "running", "succeeded", "skipped", "none"]
# The worst first.
WORST: tuple[DayStatus, ...] = ("dead", "failed", "missed", "running", "succeeded", "skipped")
BAD = frozenset(WORST[:3])


@dataclass(frozen=True, kw_only=True)
class Day:
    """A day in UTC: the worst status of its fires' runs, and the number of runs by status."""

    date: date
    status: DayStatus
    counts: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class TaskStatus:
    """A task: `schedule` as text and in `words`, `durations` in milliseconds with the latest last.

    `settled` are the run of the latest fire that is over, and the run that ended last if it is another one; fires held
    back on purpose do not count. `fires` are the next fires, also in the schedule's zone as `local_fires`; those of an
    interval are unknown. `unheard_since` is when a fire was due that neither ran nor was recorded as missed.
    """

    name: str
    schedule: str
    words: str
    is_interval: bool
    pause: Pause | None
    days: tuple[Day, ...]
    durations: tuple[int, ...]
    latest: Run | None
    settled: tuple[Run, ...]
    fires: tuple[datetime, ...]
    local_fires: tuple[str, ...]
    unheard_since: datetime | None


def read_tasks(
    connection: Connection, schedules: Mapping[str, Schedule], pauses: Sequence[Pause], *, now: datetime
) -> tuple[TaskStatus, ...]:
    """Return the status of each task, in the order of the schedules."""
    watched = {row.task: row for row in connection.execute(select(schedules_table))}
    days, latest = read_days(connection, schedules, now=now), read_latest(connection, schedules)
    durations = read_durations(connection, schedules)
    tasks = []
    for name, schedule in schedules.items():
        fires, pause = schedule.next(now, count=NEXT), of_task(pauses, name)
        status = TaskStatus(
            name=name,
            schedule=schedule.text,
            words=_words(schedule),
            is_interval=schedule.every is not None,
            pause=pause,
            days=days[name],
            durations=durations[name],
            latest=latest[name].run,
            settled=latest[name].settled,
            fires=tuple(fires),
            local_fires=tuple(_local(fire, schedule) for fire in fires),
            unheard_since=None if pause else _unheard_since(name, schedule, watched.get(name), latest[name], now=now),
        )
        tasks.append(status)
    return tuple(tasks)


def _local(fire: datetime, schedule: Schedule) -> str:
    there = fire.astimezone(schedule.zone)
    return f"{there.day} {there:%b %H:%M} {schedule.zone}"


def _words(schedule: Schedule) -> str:
    if schedule.every is not None or str(schedule.zone) == "UTC":
        return schedule.words
    return f"{schedule.words}, {schedule.zone}"


def _unheard_since(name: str, schedule: Schedule, watched: Any, latest: Latest, *, now: datetime) -> datetime | None:
    # Unknown until a function has recorded the schedule after a deployment.
    if watched is None or not (current := catch_up.current(watched)).means(schedule.text):
        return None
    # Also after a pause, until the watch has decided about the fires that it held back.
    if latest.run is not None and latest.run.error_type == MissedReason.PAUSED:
        return None
    try:
        grace = find_task(name).grace
    except ImportError:
        # The watch reports that it cannot check this task; the page shows the others.
        return None
    since = max(from_ms(watched.checked_until), current.since)
    if schedule.every is not None:
        heard = max(since, latest.fired_at or since)
        return heard if heard + schedule.every + grace < now else None
    undecided = next(schedule.after(since), None)
    return undecided if undecided and undecided + grace + WATCH_LATE < now else None


def read_days(connection: Connection, tasks: Collection[str], *, now: datetime) -> dict[str, tuple[Day, ...]]:
    """Return the last days of each task, oldest first, up to today."""
    today = now.astimezone(UTC).date()
    dates = [today - timedelta(days=ago) for ago in reversed(range(DAYS))]
    day = runs.c.scheduled_for // DAY_MS
    counted = (
        select(runs.c.task, day.label("day"), runs.c.status, func.count().label("number"))
        # Uses the index on task and moment, however long the history is.
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
