"""Claiming a run and letting it go: every statement that decides who may do it."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, Row, insert, select, update
from sqlalchemy.exc import IntegrityError

from chalicelib.attempts import Attempt
from chalicelib.clock import from_ms, iso, to_ms
from chalicelib.context import Context
from chalicelib.errors import NotOursError, PermanentError
from chalicelib.fire import Fire
from chalicelib.outcome import Outcome
from chalicelib.schema import runs

# Beyond the function's own limit its process is certainly dead; the rest covers clocks that differ.
LEASE_GRACE_MS = 60_000


@dataclass(frozen=True, kw_only=True)
class Run:
    """One execution of a task for one fire, held by this process; a dry run is not recorded and has no id."""

    id: str | None
    task: str
    scheduled_for: datetime
    trigger: Literal["schedule", "manual"]
    dry_run: bool
    attempt: int
    failures: int = 0
    checkpoint: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


def claim(context: Context, task: str, fire: Fire) -> Run:
    """Take the run of this fire.

    Taken are: a fire that nobody recorded; a failed run; a run whose lease lapsed or was handed on; a run held by
    this same request (Lambda repeats a request, under its id, only once the earlier attempt is over); and a dead
    run when a different request asks for it. Raises NotOursError for a finished run and one under a live lease,
    and PermanentError when Lambda repeats a request whose run has been given up.
    """
    if fire.dry_run:
        return Run(id=None, task=task, attempt=1, **_asked(fire))
    try:
        return context.database.transact(lambda connection: _take(connection, context, task, fire))
    except IntegrityError:
        # Another fire of the same moment inserted the row between our look and our insert; it is there now.
        return context.database.transact(lambda connection: _take(connection, context, task, fire))


def _take(connection: Connection, context: Context, task: str, fire: Fire) -> Run:
    now_ms = context.clock.now_ms()
    held = {
        "status": "running",
        "request_id": context.request_id,
        "lease_until": now_ms + context.remaining_ms() + LEASE_GRACE_MS,
    }
    of_fire = select(runs).where(runs.c.task == task, runs.c.scheduled_for == to_ms(fire.scheduled_for))
    found = connection.execute(of_fire).one_or_none()
    if found is None:
        run = Run(id=str(uuid.uuid4()), task=task, attempt=1, **_asked(fire))
        connection.execute(
            insert(runs).values(
                id=run.id,
                task=task,
                scheduled_for=to_ms(fire.scheduled_for),
                trigger=fire.trigger,
                attempt=run.attempt,
                failures=0,
                started_at=now_ms,
                **held,
            )
        )
        return run
    _refuse_unless_free(found, request_id=context.request_id, now_ms=now_ms)
    run = Run(
        id=found.id,
        task=task,
        attempt=found.attempt + 1,
        failures=found.failures,
        checkpoint=json.loads(found.checkpoint) if found.checkpoint else None,
        **_asked(fire),
    )
    # Two that read the same row both come here; only one still finds the attempt that it read.
    still_free = (runs.c.id == found.id, runs.c.attempt == found.attempt)
    taken = connection.execute(update(runs).where(*still_free).values(attempt=run.attempt, finished_at=None, **held))
    if taken.rowcount == 0:
        raise NotOursError(f"run {found.id} was taken by another attempt just now")
    return run


def _asked(fire: Fire) -> dict[str, Any]:
    return {
        "scheduled_for": fire.scheduled_for,
        "trigger": fire.trigger,
        "dry_run": fire.dry_run,
        "options": fire.options,
    }


def _refuse_unless_free(found: Row[Any], *, request_id: str, now_ms: int) -> None:
    same_request = found.request_id == request_id
    if found.status in {Outcome.SUCCEEDED, Outcome.SKIPPED}:
        raise NotOursError(f"run {found.id} {found.status} at {iso(from_ms(found.finished_at))}")
    if found.status == "running" and not same_request and found.lease_until > now_ms:
        until = iso(from_ms(found.lease_until))
        raise NotOursError(f"run {found.id} is held by request {found.request_id} until {until}")
    if found.status == Outcome.DEAD and same_request:
        raise PermanentError(f"run {found.id} was given up: {found.error}")


def save_checkpoint(context: Context, run: Run, checkpoint: Mapping[str, Any]) -> None:
    """Record how far the run has come. Raises NotOursError when another attempt holds it now."""
    _write(context, run, checkpoint=json.dumps(checkpoint))


def release(context: Context, run: Run) -> None:
    """Let the lease lapse at once, so that whoever is handed the rest may take the run."""
    _write(context, run, lease_until=0)


def finish(context: Context, run: Run, ended: Attempt[Any]) -> None:
    """Record how the attempt ended. Raises NotOursError when another attempt holds the run now."""
    _write(
        context,
        run,
        status=ended.outcome.value,
        finished_at=context.clock.now_ms(),
        lease_until=0,
        failures=run.failures + ended.outcome.is_failure,
        error_type=None if ended.error is None else type(ended.error).__name__,
        error=None if ended.error is None else str(ended.error)[:10_000],
        **ended.counts.as_dict(),
    )


def _write(context: Context, run: Run, **values: Any) -> None:
    if run.dry_run:
        return
    statement = update(runs).where(runs.c.id == run.id, runs.c.attempt == run.attempt).values(**values)
    if context.database.autocommit(lambda connection: connection.execute(statement).rowcount) == 0:
        raise NotOursError(f"run {run.id} was taken over from attempt {run.attempt} by a later one")
