"""Claiming a run and letting it go: every statement that decides who may do it."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from sqlalchemy import Connection, Row, case, insert, select, update

from chalicelib.core import pauses
from chalicelib.core.attempt import Attempt
from chalicelib.core.clock import from_ms, iso, to_ms
from chalicelib.core.context import LEASE_GRACE_MS, Context
from chalicelib.core.database import insert_missing
from chalicelib.core.errors import AlreadyClaimed, PermanentError, Skipped
from chalicelib.core.outcome import Outcome
from chalicelib.runs.fire import OF_ITSELF, Fire, Trigger
from chalicelib.schema import runs, schedules

# No function has longer. A process that does is no function, and may be killed at any time: its lease is short, and it
# renews it.
LONGEST_FUNCTION_MS = 900_000
RENEWED_LEASE_MS = 120_000
# A run that was handed on, or whose process ended, is in the way until somebody has had the time to go on with it.
NEGLECTED_MS = 3_600_000
# So is one that a person asked for, but that person may ask again soon, and the next fire is not to be missed for it.
NEGLECTED_BY_A_PERSON_MS = 300_000
# How long a run waits before it asks again whether the one in its way is over.
OVERLAP_WAIT = timedelta(minutes=1)
# What becomes of a fire while another run of the task is not over: it is missed, or it waits.
Overlap = Literal["skip", "queue"]
# The status of a fire that has no run; a later request for it starts one.
MISSED = "missed"


class MissedReason(StrEnum):
    """Why a fire has no run: the `error_type` of its row."""

    NO_FIRE = "no_fire"
    OVERLAP = "overlap"
    PAUSED = "paused"
    # By a pause, after the watch has applied the task's catch-up policy.
    HELD_BACK = "held_back"


class MissedFire(Skipped):
    """A fire has no run: it did not come, its task is paused, or another run of the task is not over."""

    def __init__(self, message: str, *, reason: MissedReason) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Run(Fire):
    """One execution of a task for one fire, held by this process; a dry run is not recorded and has no id."""

    id: str | None
    task: str
    attempt: int
    failures: int = 0
    checkpoint: Mapping[str, Any] | None = None


def claim(context: Context, task: str, fire: Fire, *, overlap: Overlap) -> Run:
    """Take the run of this fire.

    Taken are: a fire that nobody recorded, or that was missed; a failed run; a run whose lease lapsed or was handed
    on; a run held by this same request (Lambda repeats a request, under its id, only once the earlier attempt is
    over); and a dead run when a different request asks for it. Raises AlreadyClaimed for a finished run and one under a
    live lease; MissedFire while the task is paused or another run of it is not over; and PermanentError when Lambda
    repeats a request whose run has been given up.
    """
    if fire.dry_run:
        return Run(id=None, task=task, attempt=1, **vars(fire))
    taken = context.database.transact(lambda connection: _take(connection, context, task, fire, overlap=overlap))
    if isinstance(taken, Skipped):
        raise taken
    return taken


def _take(connection: Connection, context: Context, task: str, fire: Fire, *, overlap: Overlap) -> Run | Skipped:
    """Return the run, or what is in its way, once that is recorded."""
    take_turn(connection, task)
    now_ms = context.clock.now_ms()
    of_fire = select(runs).where(runs.c.task == task, runs.c.scheduled_for == to_ms(fire.scheduled_for))
    # Locked, or whoever holds it could end it between this look and our update.
    found = connection.execute(of_fire.with_for_update()).one_or_none()
    if found is not None and (holder := _in_its_way(found, request_id=context.request_id, now_ms=now_ms)):
        if fire.trigger == "schedule" and found.status == "running":
            # Whoever asked by hand does the fire's work, and where that fails it is repeated as a fire's.
            connection.execute(update(runs).where(runs.c.id == found.id).values(trigger=fire.trigger))
        return holder
    is_new = found is None or found.status == MISSED
    if is_new and fire.trigger in OF_ITSELF and (paused := find_pause(connection, task)):
        return _record_missed(connection, task, fire, found, paused, now_ms=now_ms)
    # What has begun goes on.
    if (found is None or found.status != "running") and (running := _find_running(connection, task, now_ms=now_ms)):
        if not is_new or overlap == "queue" or fire.trigger in {"catch_up", "backfill"}:
            running = _wait(connection, context, task, fire, running)
        elif fire.trigger == "manual":
            # A person is told at once, and needs no record of it.
            return running
        return _record_missed(connection, task, fire, found, running, now_ms=now_ms)
    # One that was given up and is asked for again has all its attempts, and a day for them.
    is_anew = is_new or (found is not None and found.status == Outcome.DEAD)
    if found is not None and not is_anew and found.trigger == "schedule":
        # A person's run that the fire has met, as whoever goes on with it may not know.
        fire = replace(fire, trigger="schedule")
    run = Run(
        id=str(uuid.uuid4()) if found is None else found.id,
        task=task,
        attempt=1 if found is None else found.attempt + 1,
        failures=0 if found is None or is_anew else found.failures,
        checkpoint=json.loads(found.checkpoint) if found is not None and found.checkpoint else None,
        **vars(fire),
    )
    held = {
        "trigger": run.trigger,
        "options": json.dumps(dict(run.options)) if run.options else None,
        "status": "running",
        "attempt": run.attempt,
        "request_id": context.request_id,
        "lease_until": now_ms + _lease_ms(context) + LEASE_GRACE_MS,
        "finished_at": None,
        **({"started_at": now_ms, "failures": 0, "error_type": None, "error": None} if is_anew else {}),
    }
    if found is None:
        new = {"id": run.id, "task": task, "scheduled_for": to_ms(run.scheduled_for)}
        connection.execute(insert(runs).values(**new, **held))
    else:
        connection.execute(update(runs).where(runs.c.id == run.id).values(**held))
    return run


def take_turn(connection: Connection, task: str) -> None:
    """Wait until no other transaction decides about runs of this task, and let others wait until this one ends."""
    # Two fires at once would each see no other, and the watch would miss the one that comes while it looks.
    new = {"task": task, "text": "", "checked_until": 0}
    connection.execute(insert_missing(schedules, connection.dialect).values(**new))


def find_pause(connection: Connection, task: str) -> MissedFire | None:
    """Return what tells that a task is paused, by itself or with all, and why."""
    paused = pauses.reasons(connection, "task")
    for name, called in ((task, task), (pauses.ALL_TASKS, "every task")):
        if name in paused:
            return MissedFire(f"{called} is paused: {paused[name]}", reason=MissedReason.PAUSED)
    return None


def _find_running(connection: Connection, task: str, *, now_ms: int) -> MissedFire | None:
    is_asked_for = runs.c.trigger == "manual"
    neglected_ms = case((is_asked_for, NEGLECTED_BY_A_PERSON_MS), else_=NEGLECTED_MS)
    is_running = (runs.c.task == task, runs.c.status == "running", runs.c.lease_until + neglected_ms > now_ms)
    row = connection.execute(select(runs.c.id, runs.c.scheduled_for).where(*is_running)).first()
    if row is None:
        return None
    message = f"run {row.id} of {iso(from_ms(row.scheduled_for))} is not over"
    return MissedFire(message, reason=MissedReason.OVERLAP)


def _wait(connection: Connection, context: Context, task: str, fire: Fire, running: MissedFire) -> MissedFire:
    # Seldom, and every function of a task imports this module.
    from chalicelib.queue import outbox

    # In this transaction, since not every function may send messages.
    at = from_ms(context.clock.now_ms()) + OVERLAP_WAIT
    again = outbox.NewJob(type="continue_run", data=fire.to_continue(task), run_at=at)
    outbox.enqueue_many(connection, [again], clock=context.clock)
    return MissedFire(f"{running}, and this one waits for it", reason=running.reason)


def _record_missed(
    connection: Connection, task: str, fire: Fire, found: Row[Any] | None, reason: MissedFire, *, now_ms: int
) -> MissedFire:
    if found is None:
        row = missed(task, fire.scheduled_for, trigger=fire.trigger, reason=reason, now_ms=now_ms)
        connection.execute(insert(runs).values(row))
    elif found.status == MISSED:
        told = {"error_type": reason.reason, "error": str(reason)}
        connection.execute(update(runs).where(runs.c.id == found.id).values(**told))
    return reason


def missed(task: str, scheduled_for: datetime, *, trigger: Trigger, reason: MissedFire, now_ms: int) -> dict[str, Any]:
    """Return the row of a fire that was not let run, or did not come."""
    return {
        "id": str(uuid.uuid4()),
        "task": task,
        "scheduled_for": to_ms(scheduled_for),
        "trigger": trigger,
        "status": MISSED,
        "attempt": 0,
        "failures": 0,
        "lease_until": 0,
        "request_id": "",
        "started_at": now_ms,
        "finished_at": now_ms,
        "error_type": reason.reason,
        "error": str(reason),
    }


def _in_its_way(found: Row[Any], *, request_id: str, now_ms: int) -> AlreadyClaimed | None:
    """Return why nobody may take the run now, if so. Raises PermanentError for a repeated request of a dead one."""
    same_request = found.request_id == request_id
    if found.status in {Outcome.SUCCEEDED, Outcome.SKIPPED}:
        return AlreadyClaimed(f"run {found.id} {found.status} at {iso(from_ms(found.finished_at))}")
    if found.status == "running" and not same_request and found.lease_until > now_ms:
        until = iso(from_ms(found.lease_until))
        return AlreadyClaimed(f"run {found.id} is held by request {found.request_id} until {until}")
    if found.status == Outcome.DEAD and same_request:
        raise PermanentError(f"run {found.id} was given up: {found.error}")
    return None


def _lease_ms(context: Context) -> int:
    remaining_ms = context.remaining_ms()
    return remaining_ms if remaining_ms <= LONGEST_FUNCTION_MS else RENEWED_LEASE_MS


def renew(context: Context, run: Run) -> None:
    """Renew a short lease. Raises AlreadyClaimed when another attempt holds the run now."""
    _write(context, run, lease_until=context.clock.now_ms() + RENEWED_LEASE_MS + LEASE_GRACE_MS)


def save_checkpoint(context: Context, run: Run, checkpoint: Mapping[str, Any]) -> None:
    """Record how far the run has come. Raises AlreadyClaimed when another attempt holds it now."""
    _write(context, run, checkpoint=json.dumps(checkpoint))


def release(context: Context, run: Run) -> None:
    """Let the lease lapse at once, so that whoever is handed the rest may take the run."""
    _write(context, run, lease_until=context.clock.now_ms())


def finish(context: Context, run: Run, ended: Attempt[Any]) -> None:
    """Record how the attempt ended. Raises AlreadyClaimed when another attempt holds the run now."""
    _write(
        context,
        run,
        status=ended.outcome.value,
        finished_at=context.clock.now_ms(),
        lease_until=0,
        failures=run.failures + ended.outcome.is_failure,
        error_type=None if ended.error is None else type(ended.error).__name__,
        error=ended.error_message,
        **ended.counts.as_dict(),
    )


def _write(context: Context, run: Run, **values: Any) -> None:
    if run.dry_run:
        return
    statement = update(runs).where(runs.c.id == run.id, runs.c.attempt == run.attempt).values(**values)
    if context.database.autocommit(lambda connection: connection.execute(statement).rowcount) == 0:
        raise AlreadyClaimed(f"run {run.id} was taken over from attempt {run.attempt} by a later one")
