"""Performing a job: read it, call its handler, and note whether whoever performs it is available."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection

from chalicelib.core.attempt import Attempt, attempt
from chalicelib.core.context import RESERVE_MS, Context
from chalicelib.core.deadline import TimedOutError, time_limit
from chalicelib.core.errors import InvalidRequestError, PermanentError, UnavailableError
from chalicelib.core.outcome import Counts, Outcome
from chalicelib.core.telemetry import logger
from chalicelib.queue import breaker
from chalicelib.queue.attempt import Action, JobAttempt
from chalicelib.queue.handler import FindHandler, Handler, Result
from chalicelib.queue.job import Job, envelope_of
from chalicelib.queue.message import decode_data, read_data
from chalicelib.queue.payloads import MAX_BYTES
from chalicelib.queue.services import queues


class Performer:
    """Performs the jobs of one invocation; `unavailable` has the breakers that it saw open."""

    def __init__(self, context: Context, *, find: FindHandler) -> None:
        self._context = context
        self._find = find
        self._suspects: set[str] = set()
        self.unavailable: set[str] = set()

    def handler_of(self, type_: str) -> Handler | None:
        """Return the handler of a type, or None where there is none that works."""
        # The error of a broken module is raised again where its job is read.
        return attempt(lambda: self._find(self._context, type_), clock=self._context.clock, last=False).value

    def perform(self, each: JobAttempt) -> JobAttempt:
        """Return the attempt with how the attempt ended, and the seconds that the handler itself took."""
        context = self._context
        ended: Attempt[Any] = attempt(lambda: self._read_job(each), clock=context.clock, last=True)
        result = None
        started = time.perf_counter()
        if each.handler is not None and ended.value is not None:
            ended = _call(context, each.handler, ended.value)
            if ended.value is not None:
                counts, result = ended.value
                ended = dataclasses.replace(ended, value=counts)
            ended = self._note_availability(each, ended)
        seconds = time.perf_counter() - started
        if ended.outcome is Outcome.DEAD:
            ended = _send_dead_letter(context, each, ended)
        return replace(each, ended=ended, handler_seconds=seconds, result=result.text if result else None)

    def _note_availability(self, each: JobAttempt, ended: Attempt[Any]) -> Attempt[Any]:
        """Note whether whoever performs the job was available, and return how the attempt ended.

        Where nobody is available, the job is not to blame, and its attempt does not count. Where somebody was reached
        and went away, the job may be to blame: the first such attempt since the last answer counts, and is not the end.
        """
        name = each.handler.breaker if each.handler else None
        if name is None:
            return ended
        if not isinstance(ended.error, UnavailableError):
            if each.is_suspect or name in self._suspects:
                self._execute(lambda connection: breaker.close(connection, name))
                self._suspects.discard(name)
                self.unavailable.discard(name)
            return ended
        error, now_ms = ended.error, self._context.clock.now_ms()
        noted = self._execute(lambda connection: breaker.fail(connection, name, now_ms=now_ms, reason=str(error)))
        failing = noted.value
        if failing is None:
            # The database is unavailable too, and nothing may be given up that is not known to be the job's fault.
            return dataclasses.replace(ended, outcome=Outcome.FAILED)
        if not failing.excuses(now_ms):
            return ended
        self._suspects.add(name)
        if failing.is_open:
            self.unavailable.add(name)
        if failing.failures == breaker.OPENS_AFTER:
            extra = {"breaker": name, "reason": str(error)}
            logger.warning("jobs wait: what performs them is unavailable", extra=extra)
        is_counted = error.is_reached and failing.failures == 1
        return dataclasses.replace(ended, outcome=Outcome.FAILED if is_counted else Outcome.SNOOZED)

    def _read_job(self, each: JobAttempt) -> Job[Any]:
        if each.action is Action.GIVE_UP:
            raise PermanentError(each.reason)
        if each.refusal is not None:
            raise each.refusal
        row, envelope, handler = each.row, envelope_of(each.row), self._find(self._context, each.row.type)
        # A row that existed has precedence: an operator may have edited it since the message was sent.
        if each.message and each.is_new:
            data = each.message.data
        elif (text := row.data if each.long_data is None else each.long_data) is not None:
            data = decode_data(text)
        else:
            raise InvalidRequestError(f"the job's data has more than the {MAX_BYTES} bytes allowed")
        number = each.number or 0
        return Job(
            id=row.id,
            type=row.type,
            payload=read_data(data, handler.payload),
            queue=row.queue,
            idempotency_key=row.idempotency_key,
            attempt=number,
            is_last_attempt=number >= handler.max_attempts,
            tags=tuple(envelope.get("tags", ())),
            source=envelope.get("source"),
            traceparent=envelope.get("traceparent"),
        )

    def _execute(self, work: Callable[[Connection], Any]) -> Attempt[Any]:
        return attempt(lambda: self._context.database.autocommit(work), clock=self._context.clock, last=False)


def _call(context: Context, handler: Handler, job: Job[Any]) -> Attempt[Any]:
    seconds = handler.timeout_seconds
    if seconds is not None:
        seconds = min(seconds, (context.remaining_ms() - RESERVE_MS / 2) / 1000)

    def call() -> tuple[Counts, Result | None]:
        with time_limit(seconds):
            return handler(context, job)

    ended = attempt(call, clock=context.clock, last=job.is_last_attempt, permanent=handler.permanent)
    if isinstance(ended.error, TimedOutError):
        # Interrupted at the wrong place, SQLAlchemy's pool counts a connection as in use for ever.
        context.database.engine.dispose()
    return ended


def _send_dead_letter(context: Context, each: JobAttempt, ended: Attempt[Any]) -> Attempt[Any]:
    def send() -> None:
        queues(context).dead_letters.send(each.dead_letter_body(), job_id=each.job_id, error=ended.error)

    sent = attempt(send, clock=context.clock, last=False)
    if sent.error is None:
        return ended
    reason = str(sent.error)
    logger.warning("a dead job could not be sent to the dead-letter queue, and is retried", extra={"reason": reason})
    return dataclasses.replace(ended, outcome=Outcome.FAILED)
