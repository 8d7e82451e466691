"""Recorded runs, as every command shows them: those in progress, and the latest of each task."""

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

# How many durations of a task are shown, and in how many of its latest runs they are looked for.
SHOWN, LOOKED_AT = 30, 500
MOST_RUNNING = 50
# Characters of an error: Lambda answers with no more than 6 MB.
LONGEST_ERROR = 1000

# All but what may be long.
COLUMNS = [column for column in runs.c if column.key not in {"options", "checkpoint"}]
# A fire that was held back on purpose says nothing about the task's health.
_HELD_BACK = and_(
    runs.c.status == MISSED,
    runs.c.error_type.in_([MissedReason.PAUSED, MissedReason.HELD_BACK, MissedReason.OVERLAP]),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A recorded run; `total` to `skipped` count its items, and `lease_until` is None when no attempt holds it."""

    id: str
    task: str
    trigger: str
    status: str
    attempt: int
    scheduled_for: datetime
    started_at: datetime
    finished_at: datetime | None
    lease_until: datetime | None
    total: int
    succeeded: int
    failed: int
    skipped: int
    error_type: str | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Latest:
    """A task's latest run, its latest results, and the latest fire of its schedule.

    `settled` are the run of the latest fire that is over, and the run that ended last if it is another one.
    """

    run: Run | None = None
    settled: tuple[Run, ...] = ()
    fired_at: datetime | None = None


def read_running(connection: Connection) -> tuple[Run, ...]:
    """Return the runs in progress, newest first."""
    query = select(*COLUMNS).where(runs.c.status == "running").order_by(runs.c.started_at.desc(), runs.c.id)
    return tuple(read_run(row) for row in connection.execute(query.limit(MOST_RUNNING)))


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
    of_ids = select(*COLUMNS).where(runs.c.id.in_(set(ids.values())))
    by_id = {row.id: read_run(row) for row in connection.execute(of_ids)}
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
    """Return by task how many milliseconds its latest successful runs took, latest last."""
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
    """Return the rows of several queries, unordered, in one round trip. None may have a column of type TEXT."""
    if not queries:
        return ()
    # Each is a subquery, since SQLite accepts no ORDER BY in a part of a UNION. With a TEXT column in one, the server
    # MariaDB 11.8.9 may crash when it drops the temporary table.
    return connection.execute(union_all(*(select(query.subquery()) for query in queries))).all()


def read_run(row: Row[Any], *, longest_error: int | None = LONGEST_ERROR) -> Run:
    """Return a run from its row, with secrets in its error redacted."""
    return Run(
        **{name: getattr(row, name) for name in ("id", "task", "trigger", "status", "attempt", "error_type")},
        **{name: getattr(row, name) for name in ("total", "succeeded", "failed", "skipped")},
        scheduled_for=from_ms(row.scheduled_for),
        started_at=from_ms(row.started_at),
        finished_at=None if row.finished_at is None else from_ms(row.finished_at),
        lease_until=from_ms(row.lease_until) if row.lease_until else None,
        error=None if row.error is None else redact(row.error)[:longest_error],
    )
