"""Recording how attempts ended in the rows of their jobs, only while the claim still holds them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Update, and_, bindparam, case, delete, select, update

from chalicelib.core.outcome import Outcome
from chalicelib.queue.attempt import JobAttempt
from chalicelib.queue.claim import IS_OURS, Claim
from chalicelib.queue.job import WAITING, Status
from chalicelib.queue.message import INVALID
from chalicelib.schema import jobs

# An attempt that does not count, as if it had not been made.
_UNCOUNTED = (
    # First, since in MySQL later assignments see the values of earlier ones.
    (jobs.c.status, case((jobs.c.attempts <= 1, Status.PENDING.value), else_=Status.FAILED.value)),
    (jobs.c.attempts, jobs.c.attempts - 1),
    (jobs.c.lease_until, 0),
)
_OURS = (jobs.c.id.in_(bindparam("ids", expanding=True)), IS_OURS)
_COMPLETE = (
    update(jobs)
    .where(*_OURS)
    .values(
        status=Status.COMPLETED.value,
        completed_at=bindparam("at_ms"),
        ended_at=bindparam("at_ms"),
        last_error=None,
        lease_until=0,
        dispatch_at=None,
    )
)
_DONE = frozenset({Outcome.SUCCEEDED, Outcome.SKIPPED})


def record(connection: Connection, attempts: Sequence[JobAttempt], *, claim: Claim, now_ms: int) -> int:
    """Record how attempts ended. Return how many rows the claim no longer holds; they stay as they are."""
    others = [each for each in attempts if each.ended.outcome not in _DONE or each.result is not None]
    completed = sorted({each.job_id for each in attempts} - {each.job_id for each in others})
    recorded = 0
    if completed:
        recorded += connection.execute(_COMPLETE, {**_fence(completed, claim), "at_ms": now_ms}).rowcount
    for each in others:
        recorded += connection.execute(_ending(each, now_ms=now_ms), _fence([each.job_id], claim)).rowcount
    return len(attempts) - recorded


def _ending(each: JobAttempt, *, now_ms: int) -> Update:
    if each.ended.outcome is Outcome.SNOOZED:
        waits: list[tuple[Any, Any]] = [
            (jobs.c.due_at, each.due_ms),
            (jobs.c.dispatch_at, each.dispatch_ms),
            (jobs.c.slot_at, None),
            (jobs.c.ended_at, now_ms),
            (jobs.c.last_error, each.ended.error_message),
        ]
        return update(jobs).where(*_OURS).ordered_values(*_UNCOUNTED, *waits)
    if each.ended.outcome in _DONE:
        return _COMPLETE.values(result=each.result, completed_at=now_ms, ended_at=now_ms)
    return update(jobs).where(*_OURS).values(**_failure(each), ended_at=now_ms)


def _failure(attempt: JobAttempt) -> dict[str, Any]:
    ended = attempt.ended
    failure = {"last_error": f"{type(ended.error).__name__}: {ended.error_message}", "lease_until": 0}
    if ended.outcome is Outcome.DEAD:
        return failure | {"status": Status.DEAD.value, "dispatch_at": None}
    return failure | {
        "status": Status.FAILED.value,
        "due_at": attempt.due_ms,
        "dispatch_at": attempt.dispatch_ms,
        # The next attempt takes a new turn under the rate limit.
        "slot_at": None,
    }


def _fence(ids: Sequence[str], claim: Claim) -> dict[str, Any]:
    return {"ids": list(ids), "by": claim.by, "until_ms": claim.lease_until}


def release(connection: Connection, ids: Sequence[str], *, claim: Claim, dispatch_ms: int) -> None:
    """Release jobs that were claimed and not begun, as if they had not been claimed."""
    released = update(jobs).where(*_OURS).ordered_values(*_UNCOUNTED, (jobs.c.dispatch_at, dispatch_ms))
    connection.execute(released, _fence(ids, claim))


def dispatch_now(connection: Connection, ids: Sequence[str], *, now_ms: int) -> set[str]:
    """Make those of the jobs that wait due for dispatch at once, and return their ids."""
    waiting = and_(jobs.c.id.in_(list(ids)), jobs.c.status.in_(WAITING))
    connection.execute(update(jobs).where(waiting).values(dispatch_at=now_ms))
    return set(connection.execute(select(jobs.c.id).where(waiting, jobs.c.dispatch_at == now_ms)).scalars())


def delete_unread(connection: Connection, id_: str, *, claim: Claim) -> None:
    """Delete the row that a claim inserted for a message whose body was not read yet."""
    connection.execute(delete(jobs).where(*_OURS, jobs.c.type == INVALID), _fence([id_], claim))
