"""Performing jobs: read each, call its handler, and note whether what performs it is available.

Jobs of handlers that say `parallel` are performed on threads; everything before and after the call of the handler
happens on the main thread.
"""

import dataclasses
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection

from chalicelib.core.attempt import Attempt, attempt
from chalicelib.core.context import RESERVE_MS, Context
from chalicelib.core.deadline import TimedOutError, time_limit
from chalicelib.core.errors import InvalidRequestError, PermanentError, UnavailableError
from chalicelib.core.outcome import Counts, Outcome
from chalicelib.core.telemetry import bound, carried, logger
from chalicelib.queue import breaker
from chalicelib.queue.attempt import Action, JobAttempt
from chalicelib.queue.handler import FindHandler, Handler, Result
from chalicelib.queue.job import Job, envelope_of
from chalicelib.queue.message import decode_data, read_data
from chalicelib.queue.payloads import MAX_BYTES
from chalicelib.queue.services import queues


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """A call of a handler on a thread: begun at `started`, and late after `until`, both by time.monotonic()."""

    handler: Handler
    attempt: JobAttempt
    job: Job[Any]
    started: float
    until: float


class Threads:
    """Calls of handlers, each on a thread of its own; `late` has those that exceed their time limit."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ended: SimpleQueue[tuple[Call, Attempt[Any] | BaseException]] = SimpleQueue()
        self.in_time: list[Call] = []
        self.late: list[Call] = []

    def begin(self, handler: Handler, each: JobAttempt, job: Job[Any]) -> None:
        """Call a handler."""
        seconds, started = _longest_seconds(self._context), time.monotonic()
        seconds = min(seconds, handler.timeout_seconds or seconds)
        call = Call(handler=handler, attempt=each, job=job, started=started, until=started + seconds)
        self.in_time.append(call)
        # A daemon does not keep a process that has to end.
        Thread(target=copy_context().run, args=(self._run, call), daemon=True).start()

    def _run(self, call: Call) -> None:
        ended: Attempt[Any] | BaseException
        try:
            with _told(call.attempt):
                ended = _call(self._context, call.handler, call.job)
        except BaseException as error:  # noqa: BLE001 (raised again on the main thread, whose process it ends)
            ended = error
        self._ended.put((call, ended))

    def count(self, performed_by: str) -> int:
        """Return how many calls are in time."""
        return sum(call.handler.performed_by == performed_by for call in self.in_time)

    def wait(self) -> list[tuple[Call, Attempt[Any]]]:
        """Wait until calls end, and return how; or until the next one is late, and return none."""
        ended: list[tuple[Call, Attempt[Any]]] = []
        seconds = min((call.until for call in self.in_time), default=0) - time.monotonic()
        with suppress(Empty):
            while True:
                call, how = self._ended.get(timeout=0 if ended else max(seconds, 0))
                if isinstance(how, BaseException):
                    raise how
                ended.append((call, how))
        now, over = time.monotonic(), [call for call, _ in ended]
        running = [call for call in (*self.late, *self.in_time) if call not in over]
        self.late = [call for call in running if call.until <= now]
        self.in_time = [call for call in running if call.until > now]
        return ended


class Performer:
    """Performs the jobs of one invocation; `unavailable` has the breakers that it saw open.

    `is_stuck` says that a thread has exceeded its time limit. Nothing ends it but the end of the process.
    """

    def __init__(self, context: Context, *, find: FindHandler) -> None:
        self._context = context
        self._find = find
        self._handlers: dict[str, Handler | None] = {}
        self._suspects: set[str] = set()
        self.unavailable: set[str] = set()
        self.is_stuck = False

    def handler_of(self, type_: str) -> Handler | None:
        """Return the handler of a type, or None where there is none that works."""
        if type_ not in self._handlers:
            # The error of a broken module is raised again where its job is read.
            found = attempt(lambda: self._find(self._context, type_), clock=self._context.clock, last=False)
            self._handlers[type_] = found.value
        return self._handlers[type_]

    def perform(self, each: JobAttempt) -> JobAttempt:
        """Return the attempt with how it ended, and the seconds that the handler itself took."""
        with _told(each):
            read = self._read(each)
            if each.handler is None or read.value is None:
                return self._end(each, read)
            started = time.perf_counter()
            ended = _call(self._context, each.handler, read.value)
            return self._end_call(each, ended, seconds=time.perf_counter() - started)

    def perform_side_by_side(
        self, attempts: Iterable[tuple[Handler, JobAttempt]], *, may_begin: Callable[[JobAttempt, Handler], bool]
    ) -> Iterator[list[JobAttempt]]:
        """Perform jobs on threads, as many of each handler at once as it says, and yield those that have ended.

        `may_begin` is asked just before a job begins. Jobs that exceed their time limits are yielded last: as failed,
        while their threads keep running.
        """
        threads, waiting = Threads(self._context), defaultdict[str, deque[tuple[Handler, JobAttempt]]](deque)
        for handler, each in attempts:
            waiting[handler.performed_by].append((handler, replace(each, handler=handler)))
        while any(waiting.values()) or threads.in_time:
            for name, queue in waiting.items():
                while queue and threads.count(name) < queue[0][0].parallel:
                    handler, each = queue.popleft()
                    if not may_begin(each, handler):
                        continue
                    read = self._read(each)
                    if read.value is None:
                        yield [self._end_told(each, read)]
                    else:
                        threads.begin(handler, each, read.value)
            yield [
                self._end_told(call.attempt, ended, seconds=time.monotonic() - call.started)
                for call, ended in threads.wait()
            ]
            self.is_stuck = bool(threads.late)
        yield [self._end_told(call.attempt, self._exceeded(call)) for call in threads.late]

    def _end_told(self, each: JobAttempt, ended: Attempt[Any], *, seconds: float | None = None) -> JobAttempt:
        with _told(each):
            return self._end(each, ended) if seconds is None else self._end_call(each, ended, seconds=seconds)

    def _end_call(self, each: JobAttempt, ended: Attempt[Any], *, seconds: float) -> JobAttempt:
        counts, result = ended.value or (None, None)
        each = replace(each, handler_seconds=seconds, result=result.text if result else None)
        return self._end(each, self._note_availability(each, dataclasses.replace(ended, value=counts)))

    def _end(self, each: JobAttempt, ended: Attempt[Any]) -> JobAttempt:
        if ended.outcome is Outcome.DEAD:
            ended = _send_dead_letter(self._context, each, ended)
        return replace(each, ended=ended)

    def _exceeded(self, call: Call) -> Attempt[Any]:
        def raise_() -> None:
            raise TimedOutError(f"it took longer than the {call.until - call.started:.3g} s that it may take")

        last, permanent = call.job.is_last_attempt, call.handler.permanent
        ended = attempt(raise_, clock=self._context.clock, last=last, permanent=permanent)
        return dataclasses.replace(ended, duration_ms=round(1000 * (time.monotonic() - call.started)))

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

    def _read(self, each: JobAttempt) -> Attempt[Job[Any]]:
        return attempt(lambda: self._read_job(each), clock=self._context.clock, last=True)

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


def _longest_seconds(context: Context) -> float:
    # Half of the reserve is left to record that a job was interrupted.
    return (context.remaining_ms() - RESERVE_MS / 2) / 1000


@contextmanager
def _told(each: JobAttempt) -> Iterator[None]:
    """Give each log line and message of the block what identifies the attempt."""
    with bound(type=each.label, **each.log_fields), carried(each.trace):
        yield


def _call(context: Context, handler: Handler, job: Job[Any]) -> Attempt[Any]:
    seconds = handler.timeout_seconds
    if seconds is not None:
        seconds = min(seconds, _longest_seconds(context))

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
