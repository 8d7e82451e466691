"""What becomes of a message after its job was attempted: acknowledged, or left to come again, and when."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from chalicelib.core.attempt import Attempt, classify
from chalicelib.core.outcome import Outcome
from chalicelib.handlers import Handler
from chalicelib.queue.delivery import Delivery
from chalicelib.queue.endings import Ending
from chalicelib.queue.verdict import Decision

# SQS hides a message for twelve hours at most, counted from its delivery.
LONGEST_VISIBILITY_SECONDS = 12 * 3600 - 900
# SQS itself gives a message up at its tenth delivery; before that, dispatch sends a fresh one in its place.
MOST_RECEIVES = 8
# What the database or S3 keeps from being attempted comes again after seconds at first, then minutes. In all the times
# that SQS delivers it, that is four hours.
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 10, 3600
# By then a message that was put off has come again, unless it was lost.
BACKUP_MS = 15 * 60_000


@dataclass(frozen=True, kw_only=True)
class Performed:
    """An attempt that ended and is yet to be recorded."""

    delivery: Delivery
    decision: Decision
    handler: Handler | None
    ended: Attempt[Any]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a delivery. Where its message stays, it comes again after so many seconds, or in its time."""

    # And no more of the delivery, whose message may be large.
    receipt_handle: str
    type: str
    ended: Attempt[Any]
    stays: bool
    after_seconds: int | None = None


def without_attempt(
    delivery: Delivery,
    handler: Handler | None,
    error: Exception | None,
    *,
    stays: bool,
    after_seconds: int | None = None,
) -> Result:
    """Return the result of a delivery whose job was not attempted, for this reason."""
    ended = Attempt[Any](
        outcome=Outcome.SKIPPED if error is None else classify(error, last=False),
        duration_ms=0,
        value=None,
        error=error,
    )
    handle = delivery.receipt_handle
    return Result(receipt_handle=handle, type=type_of(handler), ended=ended, stays=stays, after_seconds=after_seconds)


def seconds_until_next(delivery: Delivery) -> int:
    """Return when a message comes again whose job could not be attempted: three times as late each time."""
    seconds: int = FIRST_WAIT_SECONDS * 3 ** (delivery.receives - 1)
    return min(seconds, LONGEST_WAIT_SECONDS)


def after_attempt(performed: Performed, *, now_ms: int) -> tuple[Result, Ending]:
    """Return the result of an attempt, and how its row says that it ended."""
    ended, delivery, handler = performed.ended, performed.delivery, performed.handler
    result = Result(receipt_handle=delivery.receipt_handle, type=type_of(handler), ended=ended, stays=False)
    error = None if ended.error is None else f"{type(ended.error).__name__}: {ended.error_message}"
    ending = Ending(job_id=delivery.job_id, outcome=ended.outcome, error=error)
    if ended.outcome is not Outcome.FAILED:
        return result, ending
    seconds = handler.backoff_after(performed.decision.attempt) if handler else BACKUP_MS / 1000
    due_ms = now_ms + round(1000 * seconds)
    # By the message's visibility where SQS lets us; otherwise by a fresh message, which dispatch sends in time.
    stays = seconds <= LONGEST_VISIBILITY_SECONDS and delivery.receives < MOST_RECEIVES
    return (
        replace(result, stays=stays, after_seconds=ceil(seconds)),
        Ending(
            job_id=ending.job_id,
            outcome=ending.outcome,
            error=error,
            due_ms=due_ms,
            dispatch_ms=due_ms + BACKUP_MS if stays else due_ms,
        ),
    )


def type_of(handler: Handler | None) -> str:
    """Return how lines and metrics call the type of a job."""
    # A type without a handler is no dimension of a metric: anybody can send any.
    return handler.type if handler else "unknown"
