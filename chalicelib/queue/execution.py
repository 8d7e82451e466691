"""One attempt at one job: read it, perform it within its time, and bury its message where it is given up."""

import time
from dataclasses import replace
from typing import Any

from chalicelib.core.attempt import Attempt, attempt
from chalicelib.core.context import RESERVE_MS, Context
from chalicelib.core.deadline import TimedOutError, time_limit
from chalicelib.core.errors import InvalidRequestError, PermanentError
from chalicelib.core.outcome import Counts, Outcome
from chalicelib.core.telemetry import logger
from chalicelib.handlers import Find, Handler
from chalicelib.queue.delivery import Delivery
from chalicelib.queue.job import Job, envelope_of
from chalicelib.queue.message import decode_data, read_data
from chalicelib.queue.payloads import MAX_BYTES
from chalicelib.queue.verdict import Decision, Verdict


def execute(
    context: Context,
    handler: Handler | None,
    delivery: Delivery,
    decision: Decision,
    *,
    long_data: str | None,
    find: Find,
) -> tuple[Attempt[Any], float]:
    """Return how the attempt ended, and the seconds that the handler itself took.

    `long_data` is that of a row which was too long to be read with others.
    """
    read = attempt(lambda: _read(delivery, decision, long_data, find), clock=context.clock, last=True)
    ended: Attempt[Any] = read
    started = time.perf_counter()
    if handler is not None and read.value is not None:
        ended = _call(context, handler, read.value)
    seconds = time.perf_counter() - started
    return (_bury(context, delivery, ended) if ended.outcome is Outcome.DEAD else ended), seconds


def _read(delivery: Delivery, decision: Decision, long_data: str | None, find: Find) -> Job[Any]:
    if decision.verdict is Verdict.GIVE_UP:
        raise PermanentError(decision.reason)
    if delivery.refusal is not None:
        raise delivery.refusal
    row, envelope, handler = decision.row, envelope_of(decision.row), find(decision.row.type)
    # Otherwise the row's, which an operator may have edited since the message was sent.
    if delivery.message and decision.is_new:
        data = delivery.message.data
    elif (text := row.data if long_data is None else long_data) is not None:
        data = decode_data(text)
    else:
        raise InvalidRequestError(f"the job's data has more than the {MAX_BYTES} bytes allowed")
    return Job(
        id=row.id,
        type=row.type,
        payload=read_data(data, handler.payload),
        attempt=decision.attempt,
        is_last_attempt=decision.attempt >= handler.max_attempts,
        tags=tuple(envelope.get("tags", ())),
        source=envelope.get("source"),
        traceparent=envelope.get("traceparent"),
    )


def _call(context: Context, handler: Handler, job: Job[Any]) -> Attempt[Counts]:
    seconds = handler.timeout_seconds
    if seconds is not None:
        seconds = min(seconds, (context.remaining_ms() - RESERVE_MS / 2) / 1000)

    def call() -> Counts:
        with time_limit(seconds):
            return handler.perform(context, job)

    ended = attempt(call, clock=context.clock, last=job.is_last_attempt, permanent=handler.permanent)
    if isinstance(ended.error, TimedOutError):
        # Interrupted at the wrong place, SQLAlchemy's pool counts a connection as in use for ever.
        context.database.engine.dispose()
    return ended


def _bury(context: Context, delivery: Delivery, ended: Attempt[Any]) -> Attempt[Any]:
    def bury() -> None:
        context.queues.dead_letters.bury(delivery.to_bury(), job_id=delivery.job_id, error=ended.error)

    buried = attempt(bury, clock=context.clock, last=False)
    if buried.error is None:
        return ended
    logger.warning("a job was given up and not buried, and is tried again", extra={"reason": str(buried.error)})
    return replace(ended, outcome=Outcome.FAILED)
