"""Claims on runs: every statement that decides which attempt may execute a run, renews its lease or records its end."""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Event, Thread
from typing import Any, Literal

from sqlalchemy import Connection, Row, case, insert, select, update

from chalicelib.core import pauses
from chalicelib.core.attempt import Attempt
from chalicelib.core.clock import from_ms, iso, to_ms
from chalicelib.core.context import LEASE_GRACE_MS, Context
from chalicelib.core.database import insert_missing
from chalicelib.core.errors import AlreadyClaimed, PermanentError, Skipped
from chalicelib.core.outcome import Outcome
from chalicelib.core.telemetry import logger
from chalicelib.runs.fire import AUTOMATIC, Fire, Trigger
from chalicelib.schema import runs, schedules

# Lambda's limit. A process with more time is not a Lambda function and may be killed at any moment, so its lease is
# short and it renews it.
LONGEST_FUNCTION_MS = 900_000
SHORT_LEASE_MS = 120_000
RENEW_EVERY_SECONDS = 30.0
# A run whose lease has ended still blocks other runs of its task for so long, so that it can be continued first.
BLOCKS_FOR_MS = 3_600_000
# A person can simply ask again, and the next fire must not be missed for an abandoned manual run.
MANUAL_BLOCKS_FOR_MS = 300_000
# How long a run waits before it checks again whether the overlapping one is over.
OVERLAP_WAIT = timedelta(minutes=1)
# What happens to a fire while another run of its task is not over: it is missed, or it waits.
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
    """Claim the run of this fire.

    It can be claimed when it is new, missed or failed, when its lease has ended, when this same request holds it
    (Lambda repeats a request, under its id, only after the earlier attempt), and when it is dead and another request
    asks for it. Raises AlreadyClaimed for a run that is finished or under a live lease, MissedFire while the task is
    paused or another run of it is not over, and PermanentError when Lambda repeats the request of a dead run.
    """
    if fire.dry_run:
        return Run(id=None, task=task, attempt=1, **vars(fire))
    claimed = context.database.transact(lambda connection: _claim(connection, context, task, fire, overlap=overlap))
    if isinstance(claimed, Skipped):
        raise claimed
    return claimed


def _claim(connection: Connection, context: Context, task: str, fire: Fire, *, overlap: Overlap) -> Run | Skipped:
    """Return the run, or why it cannot be claimed, after recording that."""
    lock_task(connection, task)
    now_ms = context.clock.now_ms()
    of_fire = select(runs).where(runs.c.task == task, runs.c.scheduled_for == to_ms(fire.scheduled_for))
    # Locked: its holder could finish it between this read and our update.
    found = connection.execute(of_fire.with_for_update()).one_or_none()
    if found is not None and (claimed := _find_claim(found, request_id=context.request_id, now_ms=now_ms)):
        if fire.trigger == "schedule" and found.status == "running":
            # A manual run does the work of this fire, so it is retried like a scheduled one.
            connection.execute(update(runs).where(runs.c.id == found.id).values(trigger=fire.trigger))
        return claimed
    is_new = found is None or found.status == MISSED
    if is_new and fire.trigger in AUTOMATIC and (paused := find_pause(connection, task)):
        return _record_missed(connection, task, fire, found, paused, now_ms=now_ms)
    # A run that has begun is continued in any case.
    if (found is None or found.status != "running") and (running := _find_running(connection, task, now_ms=now_ms)):
        if not is_new or overlap == "queue" or fire.trigger in {"catch_up", "backfill"}:
            running = _wait(connection, context, task, fire, running)
        elif fire.trigger == "manual":
            # The person gets the reason as the answer; no row is needed.
            return running
        return _record_missed(connection, task, fire, found, running, now_ms=now_ms)
    # A dead run that is requested again gets all its attempts and another day.
    starts_over = is_new or (found is not None and found.status == Outcome.DEAD)
    if found is not None and not starts_over and found.trigger == "schedule":
        # Keep the trigger of a manual run that a fire has joined; the continuation may not know of it.
        fire = replace(fire, trigger="schedule")
    run = Run(
        id=str(uuid.uuid4()) if found is None else found.id,
        task=task,
        attempt=1 if found is None else found.attempt + 1,
        failures=0 if found is None or starts_over else found.failures,
        checkpoint=json.loads(found.checkpoint) if found is not None and found.checkpoint else None,
        **vars(fire),
    )
    remaining_ms = context.remaining_ms()
    lease_ms = remaining_ms if remaining_ms <= LONGEST_FUNCTION_MS else SHORT_LEASE_MS
    values = {
        "trigger": run.trigger,
        "options": json.dumps(dict(run.options)) if run.options else None,
        "status": "running",
        "attempt": run.attempt,
        "request_id": context.request_id,
        "lease_until": now_ms + lease_ms + LEASE_GRACE_MS,
        "finished_at": None,
        **({"started_at": now_ms, "failures": 0, "error_type": None, "error": None} if starts_over else {}),
    }
    if found is None:
        new = {"id": run.id, "task": task, "scheduled_for": to_ms(run.scheduled_for)}
        connection.execute(insert(runs).values(**new, **values))
    else:
        connection.execute(update(runs).where(runs.c.id == run.id).values(**values))
    return run


def lock_task(connection: Connection, task: str) -> None:
    """Lock the task's row of `schedules`, so that one transaction at a time decides about its runs."""
    # Without it two simultaneous fires would not see each other, and the watch would miss a fire that comes meanwhile.
    new = {"task": task, "text": "", "checked_until": 0}
    connection.execute(insert_missing(schedules, connection.dialect).values(**new))


def find_pause(connection: Connection, task: str) -> MissedFire | None:
    """Return the pause of a task, or of all tasks, with its reason."""
    paused = pauses.reasons(connection, "task")
    for name, called in ((task, task), (pauses.ALL, "every task")):
        if name in paused:
            return MissedFire(f"{called} is paused: {paused[name]}", reason=MissedReason.PAUSED)
    return None


def _find_running(connection: Connection, task: str, *, now_ms: int) -> MissedFire | None:
    blocks_for_ms = case((runs.c.trigger == "manual", MANUAL_BLOCKS_FOR_MS), else_=BLOCKS_FOR_MS)
    is_running = (runs.c.task == task, runs.c.status == "running", runs.c.lease_until + blocks_for_ms > now_ms)
    row = connection.execute(select(runs.c.id, runs.c.scheduled_for).where(*is_running)).first()
    if row is None:
        return None
    message = f"run {row.id} of {iso(from_ms(row.scheduled_for))} is not over"
    return MissedFire(message, reason=MissedReason.OVERLAP)


def _wait(connection: Connection, context: Context, task: str, fire: Fire, running: MissedFire) -> MissedFire:
    # Rarely needed, and every task's function imports this module.
    from chalicelib.queue import outbox
    from chalicelib.queue.job import Job

    # In this transaction: not every function may send messages.
    at = from_ms(context.clock.now_ms()) + OVERLAP_WAIT
    again = Job(type="continue_run", payload=fire.to_continue(task), run_at=at)
    outbox.enqueue_many(connection, [again], clock=context.clock)
    return MissedFire(f"{running}, and this one waits for it", reason=running.reason)


def _record_missed(
    connection: Connection, task: str, fire: Fire, found: Row[Any] | None, missed: MissedFire, *, now_ms: int
) -> MissedFire:
    if found is None:
        row = missed_row(task, fire.scheduled_for, trigger=fire.trigger, missed=missed, now_ms=now_ms)
        connection.execute(insert(runs).values(row))
    elif found.status == MISSED:
        values = {"error_type": missed.reason, "error": str(missed)}
        connection.execute(update(runs).where(runs.c.id == found.id).values(**values))
    return missed


def missed_row(
    task: str, scheduled_for: datetime, *, trigger: Trigger, missed: MissedFire, now_ms: int
) -> dict[str, Any]:
    """Return the row of a missed fire."""
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
        "error_type": missed.reason,
        "error": str(missed),
    }


def _find_claim(found: Row[Any], *, request_id: str, now_ms: int) -> AlreadyClaimed | None:
    """Return the claim, or the end, that rules out a new claim. Raises PermanentError for a repeat of a dead run."""
    same_request = found.request_id == request_id
    if found.status in {Outcome.SUCCEEDED, Outcome.SKIPPED}:
        return AlreadyClaimed(f"run {found.id} {found.status} at {iso(from_ms(found.finished_at))}")
    if found.status == "running" and not same_request and found.lease_until > now_ms:
        until = iso(from_ms(found.lease_until))
        return AlreadyClaimed(f"run {found.id} is held by request {found.request_id} until {until}")
    if found.status == Outcome.DEAD and same_request:
        raise PermanentError(f"run {found.id} was given up: {found.error}")
    return None


@contextmanager
def renewed(context: Context, run: Run) -> Iterator[None]:
    """Renew the run's lease during the block, in a process that no function's time limits."""
    if run.dry_run or context.remaining_ms() <= LONGEST_FUNCTION_MS:
        yield
        return
    stop = Event()
    thread = Thread(target=_renew, args=(context, run, stop), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _renew(context: Context, run: Run, stop: Event) -> None:
    from sqlalchemy.exc import DBAPIError

    while not stop.wait(RENEW_EVERY_SECONDS):
        try:
            _write(context, run, lease_until=context.clock.now_ms() + SHORT_LEASE_MS + LEASE_GRACE_MS)
        except AlreadyClaimed:
            # The attempt fails with the same error when it records its end.
            return
        except DBAPIError:
            logger.warning("lease not renewed", exc_info=True)


def save_checkpoint(context: Context, run: Run, checkpoint: Mapping[str, Any]) -> None:
    """Save the run's progress. Raises AlreadyClaimed when another attempt holds the run now."""
    _write(context, run, checkpoint=json.dumps(checkpoint))


def end_lease(context: Context, run: Run) -> None:
    """End the lease now, so that the next message can continue the run."""
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
