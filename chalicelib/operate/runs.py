"""The history of runs: which there were, and one in full."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from sqlalchemy import select

from chalicelib.core.clock import from_ms, iso
from chalicelib.core.context import Context
from chalicelib.core.error_text import hint
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.outcome import Outcome
from chalicelib.core.redaction import redact
from chalicelib.operate import schedules
from chalicelib.runs.claims import MISSED
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import runs

STATUSES = ("all", "running", *Outcome, MISSED)
TIMES = ("scheduled_for", "started_at", "finished_at")
COUNTS = ("total", "succeeded", "failed", "skipped")
LISTED = [column for column in runs.c if column.key not in {"options", "checkpoint"}]
# Of an error in a list: Lambda answers with no more than 6 MB.
LONG = 1000


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which runs: of a task, and by status."""

    task: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    status: str = "all"
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}{hint(self.status, STATUSES)}")


class One(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run."""

    id: str


def list_runs(context: Context, asked: Filter, planned: Mapping[str, Schedule]) -> dict[str, Any]:
    """Return the runs that match, that of the latest fire first."""
    query = select(*LISTED).order_by(runs.c.scheduled_for.desc(), runs.c.id).limit(asked.limit)
    if asked.task is not None:
        query = query.where(runs.c.task == asked.task)
    if asked.status != "all":
        query = query.where(runs.c.status == asked.status)
    rows = context.database.autocommit(lambda connection: connection.execute(query).all())
    if asked.task is not None and not rows:
        # After the fact: a task that is no more has its history still.
        schedules.find(asked.task, planned)
    return {"runs": [_describe(row, most=LONG) for row in rows]}


def show(context: Context, asked: One) -> dict[str, Any]:
    """Return a run with what it was asked with and its checkpoint, in which secrets are redacted by key."""
    query = select(runs).where(runs.c.id == asked.id)
    row = context.database.autocommit(lambda connection: connection.execute(query).one_or_none())
    if row is None:
        raise InvalidRequestError(f"there is no run with the id {asked.id[:64]}")
    return {
        **_describe(row),
        "failures": row.failures,
        "request_id": row.request_id,
        "lease_until": iso(from_ms(row.lease_until)) if row.lease_until else None,
        "options": _read(row.options),
        "checkpoint": _read(row.checkpoint),
    }


def _describe(row: Any, *, most: int | None = None) -> dict[str, Any]:
    moments = {name: getattr(row, name) for name in TIMES}
    return {
        "id": row.id,
        "task": row.task,
        "trigger": row.trigger,
        "status": row.status,
        "attempt": row.attempt,
        **{name: None if moment is None else iso(from_ms(moment)) for name, moment in moments.items()},
        **{name: getattr(row, name) for name in COUNTS},
        "error_type": row.error_type,
        "error": None if row.error is None else redact(row.error)[:most],
    }


def _read(text: str | None) -> Any:
    return None if text is None else redact(json.loads(text))
