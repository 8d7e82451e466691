"""Runs: those that are going on, and of each task the latest."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, literal, not_, select, union_all

from chalicelib.core.clock import from_ms
from chalicelib.core.outcome import Outcome
from chalicelib.core.redaction import redact
from chalicelib.runs.claims import MISSED, MissedReason
from chalicelib.schema import runs

# How many durations of a task are shown, among how many of its latest runs they are looked for, …
SHOWN, LOOKED_AT = 30, 500
# … how many runs that are going on, and how much of an error.
MOST_RUNNING, LONG = 50, 1000

SHAPE = [column for column in runs.c if column.key not in {"options", "checkpoint", "request_id", "failures"}]
# A fire that was held back on purpose tells nothing of how the task is.
_HELD_BACK = and_(
    runs.c.status == MISSED,
    runs.c.error_type.in_([MissedReason.PAUSED, MissedReason.HELD_BACK, MissedReason.OVERLAP]),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as its row has it; `total` and `failed` are items, `lease_until` only matters while it is running."""

    id: str
    task: str
    scheduled_for: datetime
    trigger: str
    status: str
    attempt: int
    started_at: datetime
    finished_at: datetime | None
    lease_until: datetime
    total: int
    failed: int
    error_type: str | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Latest:
    """A task's latest run, what it has come to, and its latest fire by the schedule.

    `settled` are the run for the latest fire that is over and the run that ended last, which may be of an earlier one.
    """

    run: Run | None = None
    settled: tuple[Run, ...] = ()
    fired_at: datetime | None = None


def read_running(connection: Connection) -> tuple[Run, ...]:
    """Return the runs that are not over, the newest first."""
    query = select(*SHAPE).where(runs.c.status == "running").order_by(runs.c.started_at.desc(), runs.c.id)
    return tuple(_run(row) for row in connection.execute(query.limit(MOST_RUNNING)))


def read_latest(connection: Connection, tasks: Collection[str]) -> dict[str, Latest]:
    """Return the latest runs of each task."""
    is_settled = and_(runs.c.status != "running", not_(_HELD_BACK))
    ways = {
        "run": (runs.c.scheduled_for, runs.c.id.is_not(None)),
        "settled": (runs.c.scheduled_for, is_settled),
        "ended": (runs.c.finished_at, is_settled),
        "fired": (runs.c.scheduled_for, runs.c.trigger == "schedule"),
    }
    queries = [
        _latest_first(task, runs.c.id, literal(way).label("way"), by=moment).where(condition).limit(1)
        for task in tasks
        for way, (moment, condition) in ways.items()
    ]
    ids = {(row.task, row.way): row.id for row in _together(connection, queries)}
    of_ids = select(*SHAPE).where(runs.c.id.in_(set(ids.values())))
    by_id = {row.id: _run(row) for row in connection.execute(of_ids)}
    found = {key: by_id[id_] for key, id_ in ids.items() if id_ in by_id}
    return {
        task: Latest(
            run=found.get((task, "run")),
            settled=tuple({run.id: run for way in ("settled", "ended") if (run := found.get((task, way)))}.values()),
            fired_at=found[task, "fired"].scheduled_for if (task, "fired") in found else None,
        )
        for task in tasks
    }


def read_durations(connection: Connection, tasks: Collection[str]) -> dict[str, tuple[int, ...]]:
    """Return for each task the milliseconds that its latest runs took which succeeded, the latest last."""
    found: dict[str, list[int]] = {task: [] for task in tasks}
    queries = []
    for task in tasks:
        columns = (runs.c.scheduled_for, runs.c.status, runs.c.started_at, runs.c.finished_at)
        recent = _latest_first(task, *columns, by=runs.c.scheduled_for).limit(LOOKED_AT).subquery()
        succeeded = select(recent).where(recent.c.status == Outcome.SUCCEEDED.value)
        queries.append(succeeded.order_by(recent.c.scheduled_for.desc()).limit(SHOWN))
    for row in sorted(_together(connection, queries), key=lambda row: row.scheduled_for):
        found[row.task].append(max(row.finished_at - row.started_at, 0))
    return {task: tuple(durations) for task, durations in found.items()}


def _latest_first(task: str, *columns: ColumnElement[Any], by: ColumnElement[Any]) -> Select[Any]:
    return select(runs.c.task, *columns).where(runs.c.task == task).order_by(by.desc())


def _together(connection: Connection, queries: Sequence[Select[Any]]) -> Sequence[Row[Any]]:
    """Return the rows of several queries, in no certain order, in one round trip. None may have a column of text."""
    if not queries:
        return ()
    # Each stands in a subquery, since SQLite takes no ORDER BY in a part of a UNION. With a TEXT in one, MariaDB 11.8.9
    # may crash as a whole when it drops the table that it made of it.
    return connection.execute(union_all(*(select(query.subquery()) for query in queries))).all()


def _run(row: Row[Any]) -> Run:
    return Run(
        id=row.id,
        task=row.task,
        scheduled_for=from_ms(row.scheduled_for),
        trigger=row.trigger,
        status=row.status,
        attempt=row.attempt,
        started_at=from_ms(row.started_at),
        finished_at=None if row.finished_at is None else from_ms(row.finished_at),
        lease_until=from_ms(row.lease_until),
        total=row.total,
        failed=row.failed,
        error_type=row.error_type,
        error=None if row.error is None else redact(row.error)[:LONG],
    )
