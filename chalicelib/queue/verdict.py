"""What is to be done about a message, decided from the row of its job alone."""

from dataclasses import dataclass
from enum import StrEnum
from types import SimpleNamespace
from typing import Any

from chalicelib.core.clock import from_ms, iso
from chalicelib.queue.job import OVER, TAKEN, Status

# SQS counts delays in seconds, and two machines' clocks differ by less than this.
EARLY_MS = 1000


class Verdict(StrEnum):
    """What is to be done."""

    TAKE = "take"
    # In a transaction of its own, just before it is performed.
    TAKE_ALONE = "take alone"
    # The message has nothing more to ask for.
    SETTLED = "settled"
    # Another worker may be doing it: the message is left alone.
    HELD = "held"
    # The row waits for its time, and is put on its queue again then.
    PUT_OFF = "put off"
    EXPIRE = "expire"
    GIVE_UP = "give up"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Who claims, when, and until when nobody else may."""

    by: str
    now_ms: int
    lease_until: int


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a verdict needs to know of a type's handler; without a rate limit there is no interval."""

    max_attempts: int
    interval_ms: float | None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A verdict, the row that it was made on, and the reason in words; `attempt` is the one that begins."""

    verdict: Verdict
    row: Any
    reason: str = ""
    attempt: int = 0
    due_ms: int = 0
    slot_ms: int | None = None

    @property
    def is_new(self) -> bool:
        """Whether the row is still what the message says."""
        return isinstance(self.row, SimpleNamespace)


def judge(row: Any, *, policy: Policy, is_paused: bool, claim: Claim, alone: bool) -> Decision:
    """Decide about a message by the row of its job, as it stands now."""
    now_ms = claim.now_ms
    # By a statement whose answer was lost.
    is_ours = row.status in TAKEN and (row.claimed_by, row.lease_until) == (claim.by, claim.lease_until)
    attempt = row.attempts if is_ours or row.status == Status.CLAIMED else row.attempts + 1

    def decide(verdict: Verdict, reason: str = "", due_ms: int = 0) -> Decision:
        return Decision(verdict=verdict, row=row, reason=reason, attempt=attempt, due_ms=due_ms, slot_ms=row.slot_at)

    if row.status in OVER:
        return decide(Verdict.SETTLED, f"job {row.id} is {row.status}")
    is_left = row.status in TAKEN and not is_ours
    if is_left and row.lease_until > now_ms:
        return decide(Verdict.HELD, f"job {row.id} is held by {row.claimed_by} until {iso(from_ms(row.lease_until))}")
    if row.expires_at is not None and row.expires_at <= now_ms:
        return decide(Verdict.EXPIRE, f"job {row.id} expired at {iso(from_ms(row.expires_at))}")
    if attempt > max(policy.max_attempts, 1):
        how = "the process ended in the middle of it" if is_left else row.last_error
        return decide(Verdict.GIVE_UP, f"attempt {row.attempts} was the last: {how}")
    if is_paused:
        return decide(Verdict.PUT_OFF, f"jobs of type {row.type} are paused", now_ms)
    due_ms = max(row.due_at, row.slot_at or 0)
    if not is_left and due_ms > now_ms + EARLY_MS:
        return decide(Verdict.PUT_OFF, f"job {row.id} is not due before {iso(from_ms(due_ms))}", due_ms)
    # What was claimed when a process ended is tried by itself: it may be what ended it. So is what may be tried
    # only once, since nobody could tell whether an attempt claimed in company had begun.
    if not alone and (is_left or policy.max_attempts == 1):
        return decide(Verdict.TAKE_ALONE)
    return decide(Verdict.TAKE)
