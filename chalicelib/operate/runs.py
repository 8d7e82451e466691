"""The history of runs: a list, and one run in full."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from sqlalchemy import select

from chalicelib.core.context import Context
from chalicelib.core.error_text import hint
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.outcome import Outcome
from chalicelib.core.redaction import redact
from chalicelib.operate import schedules as schedule_commands
from chalicelib.operate.answers import to_json
from chalicelib.operate.status.runs import COLUMNS, read_run
from chalicelib.runs.claims import MISSED
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import runs

STATUSES = ("all", "running", *Outcome, MISSED)


class ListRuns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A filter of runs, by task and status."""

    task: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    status: str = "all"
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}{hint(self.status, STATUSES)}")


class ShowRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run."""

    id: str


def list_runs(context: Context, request: ListRuns, schedules: Mapping[str, Schedule]) -> dict[str, Any]:
    """Return the runs that match, that of the latest fire first."""
    query = select(*COLUMNS).order_by(runs.c.scheduled_for.desc(), runs.c.id).limit(request.limit)
    if request.task is not None:
        query = query.where(runs.c.task == request.task)
    if request.status != "all":
        query = query.where(runs.c.status == request.status)
    rows = context.database.autocommit(lambda connection: connection.execute(query).all())
    if request.task is not None and not rows:
        # Checked last: a removed task still has its history.
        schedule_commands.find(request.task, schedules)
    return {"runs": [to_json(read_run(row)) for row in rows]}


def show(context: Context, request: ShowRun) -> dict[str, Any]:
    """Return a run with its options and checkpoint, in which secrets are redacted by key."""
    query = select(runs).where(runs.c.id == request.id)
    row = context.database.autocommit(lambda connection: connection.execute(query).one_or_none())
    if row is None:
        raise InvalidRequestError(f"there is no run with the id {request.id[:64]}")
    return {
        **to_json(read_run(row, longest_error=None)),
        "failures": row.failures,
        "request_id": row.request_id,
        "options": _read(row.options),
        "checkpoint": _read(row.checkpoint),
    }


def _read(text: str | None) -> Any:
    return None if text is None else redact(json.loads(text))
