"""How attempts at jobs ended, written to their rows under the fence of the claim."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, delete, select, update

from chalicelib.core.outcome import Outcome
from chalicelib.queue.claims import IS_OURS
from chalicelib.queue.job import INVALID, WAITING, Status
from chalicelib.queue.verdict import Claim
from chalicelib.schema import jobs


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt ended; for one that failed, when the next is due and when dispatch should see to that."""

    job_id: str
    outcome: Outcome
    error: str | None = None
    due_ms: int = 0
    dispatch_ms: int = 0


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


def record(connection: Connection, endings: Sequence[Ending], *, claim: Claim, now_ms: int) -> int:
    """Record how attempts ended, and return how many were not this claim's any more and stay as they are."""
    completed = sorted(each.job_id for each in endings if not each.outcome.is_failure)
    recorded = 0
    if completed:
        recorded += connection.execute(_COMPLETE, {**_fence(completed, claim), "at_ms": now_ms}).rowcount
    for each in endings:
        if each.outcome.is_failure:
            failed = update(jobs).where(*_OURS).values(**_failure(each), last_error=each.error, ended_at=now_ms)
            recorded += connection.execute(failed, _fence([each.job_id], claim)).rowcount
    return len(endings) - recorded


def _failure(ending: Ending) -> dict[str, Any]:
    if ending.outcome is Outcome.DEAD:
        return {"status": Status.DEAD.value, "lease_until": 0, "dispatch_at": None}
    return {
        "status": Status.FAILED.value,
        "lease_until": 0,
        "due_at": ending.due_ms,
        "dispatch_at": ending.dispatch_ms,
        # Another attempt takes another turn.
        "slot_at": None,
    }


def _fence(ids: Sequence[str], claim: Claim) -> dict[str, Any]:
    return {"ids": list(ids), "by": claim.by, "until_ms": claim.lease_until}


def release(connection: Connection, ids: Sequence[str], *, claim: Claim, dispatch_ms: int) -> None:
    """Give back jobs that were claimed and not begun, as if they had not been claimed."""
    waiting = case((jobs.c.attempts == 1, Status.PENDING.value), else_=Status.FAILED.value)
    given_back = (
        update(jobs)
        .where(*_OURS)
        .ordered_values(
            # First, since MySQL gives to later assignments what earlier ones have set.
            (jobs.c.status, waiting),
            (jobs.c.attempts, jobs.c.attempts - 1),
            (jobs.c.lease_until, 0),
            (jobs.c.dispatch_at, dispatch_ms),
        )
    )
    connection.execute(given_back, _fence(ids, claim))


def hasten(connection: Connection, ids: Sequence[str], *, now_ms: int) -> set[str]:
    """Let those of the jobs that wait be sent by a fresh message at once, and return their ids."""
    waiting = and_(jobs.c.id.in_(list(ids)), jobs.c.status.in_(WAITING))
    connection.execute(update(jobs).where(waiting).values(dispatch_at=now_ms))
    return set(connection.execute(select(jobs.c.id).where(waiting, jobs.c.dispatch_at == now_ms)).scalars())


def forget_unread(connection: Connection, id_: str, *, claim: Claim) -> None:
    """Delete the row that a claim made for a message whose body had yet to be read."""
    connection.execute(delete(jobs).where(*_OURS, jobs.c.type == INVALID), _fence([id_], claim))
