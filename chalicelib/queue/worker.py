"""The worker: receives messages, claims their jobs, performs them, records how they ended, and acknowledges them.

Jobs of one SQS batch are claimed together, performed one by one or on threads, and recorded together where that is as
safe.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from math import ceil
from typing import Any

from msgspec.structs import replace

from chalicelib.core.attempt import Attempt, attempt, classify, forget_frames
from chalicelib.core.context import LEASE_GRACE_MS, Context
from chalicelib.core.database import is_server_fault
from chalicelib.core.errors import (
    AlreadyClaimed,
    InvalidRequestError,
    NightshiftError,
    OutOfTimeError,
    Snooze,
    TransientError,
    UnavailableError,
)
from chalicelib.core.outcome import Outcome
from chalicelib.core.telemetry import bound, logger, measure, summarise, summarise_together
from chalicelib.queue import record
from chalicelib.queue.attempt import Action, JobAttempt, fetch_body, read_records, receive
from chalicelib.queue.claim import BACKUP_MS, Claim, claim_jobs, read_long_data
from chalicelib.queue.handler import FindHandler, Handler, find_handler
from chalicelib.queue.message import INVALID
from chalicelib.queue.outbox import send_now
from chalicelib.queue.perform import Performer
from chalicelib.queue.services import payloads, queues
from chalicelib.queue.sqs import WorkQueue

# No call over the network returns sooner. What took longer may have had an effect there, and is recorded before the
# next job begins; so a kill repeats at most one such effect, as if nothing were recorded together.
ALONE_AFTER_SECONDS = 100e-6
# SQS hides a message for at most twelve hours, counted from its delivery.
LONGEST_VISIBILITY_SECONDS = 12 * 3600 - 900
# SQS itself gives a message up at its tenth delivery; before that, dispatch sends a fresh one in its place.
MOST_RECEIVES = 8
# A job that the database or S3 keeps from being attempted is retried after seconds at first, and then minutes. Over
# all the deliveries that SQS makes, that is four hours.
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 10, 3600
SAME_JOB = "another message of this batch asks for the same job"


class StuckError(SystemExit):
    """Raised to end the process, because nothing else ends a thread that runs beyond its time limit."""


class BatchFailedError(NightshiftError):
    """Raised to Lambda when messages remain to be done, so that the queue keeps them."""


def work(event: object, context: Context, *, queue: str, find: FindHandler = find_handler) -> dict[str, int]:
    """Perform the job of each message of an SQS event, and return the number of messages by outcome.

    Raises BatchFailedError while messages remain to be done, InvalidRequestError for records that are not messages, and
    StuckError where the process has to end. It deletes the others itself first, because only that is right under both
    kinds of trigger: one that honours `batchItemFailures`, and that of a plain `chalice deploy`, which ignores the list
    and would delete the failed messages with the batch.
    """
    records, reasons = read_records(event)
    for reason in reasons:
        logger.error("the worker got a record that is not an SQS message; check its trigger", extra={"reason": reason})
    batch = Batch(context, queue=queue, find=find)
    with bound(request_id=context.request_id):
        batch.work([receive(record) for record in records])
    _measure(batch.ended)
    staying = [each for each in batch.ended if each.stays]
    if staying or reasons or batch.is_stuck:
        _acknowledge(queues(context).named(queue), batch.ended, staying)
        if batch.is_stuck:
            raise StuckError("a job on a thread exceeded its time limit: this process ends, so that the job does")
        # A trigger deletes the messages of an invocation that succeeds.
        if not staying:
            raise InvalidRequestError(f"{len(reasons)} of the worker's records are not messages: {reasons[0]}")
        raise BatchFailedError(f"{len(staying)} of {len(batch.ended)} messages stay on the queue, to be tried again")
    return {"messages": len(records), **Counter(each.ended.outcome.value for each in batch.ended)}


class Batch:
    """The messages of one invocation of the worker; `ended` has the attempt of each that is done with."""

    def __init__(self, context: Context, *, queue: str, find: FindHandler) -> None:
        now_ms = context.clock.now_ms()
        lease_until = now_ms + context.remaining_ms() + LEASE_GRACE_MS
        self._context = context
        self._queue = queue
        self._performer = Performer(context, find=find)
        self._claim_held = Claim(by=context.request_id, now_ms=now_ms, lease_until=lease_until)
        self._unrecorded: list[JobAttempt] = []
        self._not_begun: list[JobAttempt] = []
        self._skipped: list[JobAttempt] = []
        self._job_ids: set[str] = set()
        self._has_begun = False
        self.ended: list[JobAttempt] = []

    @property
    def is_stuck(self) -> bool:
        """Whether a job runs beyond its time limit."""
        return self._performer.is_stuck

    def work(self, attempts: Sequence[JobAttempt]) -> None:
        """Make the attempts."""
        by_id: dict[str, JobAttempt] = {}
        # Redriven messages first: only they reopen a job that was given up.
        for each in sorted(attempts, key=lambda each: not each.is_redriven):
            if each.job_id in by_id:
                self._skip(each, SAME_JOB)
            else:
                by_id[each.job_id] = each
        self._job_ids |= by_id.keys()
        together = [each for each in by_id.values() if not each.is_unread]
        # Long bodies come last: they may be what ends the process.
        alone = [*self._claim_and_perform(together, alone=False), *(each for each in by_id.values() if each.is_unread)]
        for each in alone:
            # Record the earlier attempts first: this one may be what ends the process.
            self._record()
            self._claim_and_perform([each], alone=True)
        self._record()
        self._release()
        _summarise_alike(self._skipped)

    def _claim_and_perform(self, attempts: Sequence[JobAttempt], *, alone: bool) -> list[JobAttempt]:
        """Claim the jobs and perform those that are ours; return the attempts that are to be claimed alone."""
        if not attempts:
            return []
        if self.is_stuck or self._context.is_out_of_time():
            self._not_begun += attempts
            return []
        claimed = attempt(lambda: self._claim(attempts, alone=alone), clock=self._context.clock, last=False)
        if claimed.value is None:
            if not alone and not is_server_fault(claimed.error):
                # The database refuses one of them, or one of the handlers is broken.
                return list(attempts)
            for each in attempts:
                self._retry_later(each, claimed.error, after_seconds=_seconds_until_next(each))
            return []
        logger.debug("jobs claimed", extra={"actions": {each.job_id: each.action for each in claimed.value}})
        for each in self._perform_side_by_side(claimed.value):
            if each.action in {Action.PERFORM, Action.GIVE_UP}:
                self._begin(each)
            elif each.action is Action.RETRY_LATER and (each.receives < MOST_RECEIVES or each.is_unread):
                seconds = None if each.row else _seconds_until_next(each)
                self._retry_later(each, AlreadyClaimed(each.reason), after_seconds=seconds)
            elif each.action is not Action.PERFORM_ALONE:
                # Of a job that is held, dispatch sends a fresh message when the lease is over.
                self._skip(each, each.reason)
        postponed = [each.job_id for each in claimed.value if each.action is Action.POSTPONE]
        if postponed:
            self._send_now(postponed)
        return [each for each in claimed.value if each.action is Action.PERFORM_ALONE]

    def _claim(self, attempts: Sequence[JobAttempt], *, alone: bool) -> list[JobAttempt]:
        claim = replace(self._claim_held, now_ms=self._context.clock.now_ms(), alone=alone)
        return claim_jobs(
            self._context.database, attempts, queue=self._queue, handler_of=self._performer.handler_of, claim=claim
        )

    def _begin(self, each: JobAttempt) -> None:
        is_performed = each.action is Action.PERFORM
        if is_performed and each.is_unread and each.row.type == INVALID:
            self._fetch_and_perform(each)
            return
        if not is_performed or each.is_new or each.row.data is not None:
            self._perform(each)
            return
        # Record the earlier attempts first: long data may be what ends the process.
        self._record()
        read = self._attempt(lambda connection: read_long_data(connection, each.row.id, claim=self._claim_held))
        if read.error is not None:
            self._retry_later(each, read.error)
            return
        self._perform(replace(each, long_data=read.value))
        self._record()

    def _fetch_and_perform(self, unread: JobAttempt) -> None:
        """Fetch a body from the bucket and perform its job. Until it is read, a row of type INVALID is claimed."""
        each = fetch_body(unread, payloads(self._context))
        deleted = self._attempt(
            lambda connection: record.delete_unread(connection, unread.job_id, claim=self._claim_held)
        )
        if deleted.error is not None:
            self._retry_later(unread, deleted.error)
        elif isinstance(each.refusal, TransientError):
            self._retry_later(each, each.refusal, after_seconds=_seconds_until_next(each))
        elif each.job_id != unread.job_id and each.job_id in self._job_ids:
            self._skip(each, SAME_JOB)
        else:
            self._job_ids.add(each.job_id)
            self._claim_and_perform([each], alone=True)
            self._record()

    def _perform_side_by_side(self, attempts: Sequence[JobAttempt]) -> Sequence[JobAttempt]:
        """Perform on threads the jobs whose handlers say so, and return the other attempts."""
        chosen = [(handler, each) for each in attempts if (handler := self._handler_on_threads(each))]
        if len(chosen) < 2:
            return attempts
        on_threads = {each.job_id for _, each in chosen}
        for ended in self._performer.perform_side_by_side(chosen, may_begin=self._may_begin):
            self._unrecorded += ended
            self._record()
        return [each for each in attempts if each.job_id not in on_threads]

    def _handler_on_threads(self, each: JobAttempt) -> Handler | None:
        if each.action is not Action.PERFORM or each.is_unread:
            return None
        # A job that failed before is tried by itself: it may be what brought down the service that performs the jobs.
        if not each.is_new and (each.row.data is None or each.row.last_error is not None):
            return None
        handler = self._performer.handler_of(each.row.type)
        return handler if handler and handler.parallel > 1 else None

    def _perform(self, each: JobAttempt) -> None:
        handler = self._performer.handler_of(each.row.type) if each.row is not None else None
        if not self._may_begin(each, handler):
            return
        each = self._performer.perform(replace(each, handler=handler))
        self._unrecorded.append(each)
        if each.handler_seconds > ALONE_AFTER_SECONDS or each.ended.error is not None:
            self._record()

    def _may_begin(self, each: JobAttempt, handler: Handler | None) -> bool:
        """Return whether a job may begin now; if not, it is released at the end."""
        if handler and handler.breaker in self._performer.unavailable:
            self._not_begun.append(replace(each, reason="what performs it is unavailable, and it was not begun"))
        elif self.is_stuck:
            self._not_begun.append(replace(each, reason="another job exceeded its time limit, and it was not begun"))
        elif not self._has_time_for(handler):
            self._not_begun.append(each)
        else:
            self._has_begun = True
            return True
        return False

    def _has_time_for(self, handler: Handler | None) -> bool:
        # A fresh invocation has more time; but each must begin one job, or none would ever be begun.
        seconds = (handler.timeout_seconds or 0) if handler and self._has_begun else 0
        return not self._context.is_out_of_time(needed_ms=round(1000 * seconds))

    def _record(self) -> None:
        if not self._unrecorded:
            return
        now_ms = self._context.clock.now_ms()
        attempts, self._unrecorded = [_with_next(each, now_ms=now_ms) for each in self._unrecorded], []
        # An attempt without a row must not be recorded: the database would take another job's row for it.
        with_row = [each for each in attempts if each.row is not None]
        recorded = self._attempt(
            lambda connection: record.record(connection, with_row, claim=self._claim_held, now_ms=now_ms)
        )
        if recorded.error is not None and len(attempts) > 1 and not is_server_fault(recorded.error):
            # The database refuses one of them.
            for each in attempts:
                self._unrecorded = [each]
                self._record()
            return
        if recorded.value:
            logger.warning("attempts ended after other workers had claimed their jobs", extra={"jobs": recorded.value})
        if recorded.error is not None:
            # What is not recorded is not done: the message stays, and the next attempt begins when the lease is over.
            attempts = [replace(each, ended=recorded, stays=True, after_seconds=None) for each in attempts]
        _summarise_alike([each for each in attempts if each.ended.error is None])
        for each in attempts:
            if each.ended.error is not None:
                _summarise(each)
            forget_frames(each.ended.error)
        self.ended += [each.without_content() for each in attempts]

    def _release(self) -> None:
        """Release the jobs that were claimed and not begun."""
        ids, now_ms = [each.job_id for each in self._not_begun], self._context.clock.now_ms()
        if not ids:
            return
        dispatch_ms = now_ms + BACKUP_MS
        released = self._attempt(
            lambda connection: record.release(connection, ids, claim=self._claim_held, dispatch_ms=dispatch_ms)
        )
        # Until the lease is over, no other worker claims a job that could not be released.
        seconds = 0 if released.error is None else ceil((self._claim_held.lease_until - now_ms) / 1000)
        # Each delivery counts for SQS, which gives a message up at its tenth: a fresh one takes its place before.
        worn = [each.job_id for each in self._not_begun if each.receives >= MOST_RECEIVES]
        fresh: set[str] = set()
        if worn:
            fresh = (
                self._attempt(lambda connection: record.dispatch_now(connection, worn, now_ms=now_ms)).value or fresh
            )
            self._send_now(sorted(fresh))
        for each in self._not_begun:
            if each.job_id in fresh:
                self._skip(each, "the deadline is near, and a fresh message asks for the job")
            else:
                late = OutOfTimeError("the deadline is near, and it was not begun")
                error = Snooze(each.reason, seconds=0) if each.reason else late
                self._retry_later(each, error, after_seconds=seconds)

    def _retry_later(self, each: JobAttempt, error: Exception | None, *, after_seconds: int | None = None) -> None:
        """End an attempt that was not performed; its message stays on the queue."""
        ended = self._not_performed(each, error, stays=True, after_seconds=after_seconds)
        _summarise(ended)
        self.ended.append(ended)

    def _skip(self, each: JobAttempt, reason: str) -> None:
        """End an attempt that is not needed; its message is acknowledged."""
        ended = self._not_performed(each, AlreadyClaimed(reason), stays=False)
        self._skipped.append(ended)
        self.ended.append(ended)

    def _not_performed(
        self, each: JobAttempt, error: Exception | None, *, stays: bool, after_seconds: int | None = None
    ) -> JobAttempt:
        outcome = Outcome.SKIPPED if error is None else classify(error, last=False)
        ended = Attempt[Any](outcome=outcome, duration_ms=0, value=None, error=error)
        handler = self._performer.handler_of(each.type)
        each = replace(each, number=None, handler=handler, ended=ended, stays=stays, after_seconds=after_seconds)
        return each.without_content()

    def _send_now(self, ids: Sequence[str]) -> None:
        send_now(self._context.database, queues(self._context), ids, clock=self._context.clock)

    def _attempt(self, work: Any) -> Attempt[Any]:
        return attempt(lambda: self._context.database.autocommit(work), clock=self._context.clock, last=False)


def _with_next(each: JobAttempt, *, now_ms: int) -> JobAttempt:
    """Return the attempt with when the job is due next, and how its message comes again."""
    error = each.ended.error
    if each.ended.outcome not in {Outcome.FAILED, Outcome.SNOOZED}:
        return each
    if isinstance(error, Snooze):
        seconds = error.seconds
    else:
        seconds = each.handler.backoff_after(each.number or 0) if each.handler else BACKUP_MS / 1000
    due_ms = now_ms + round(1000 * seconds)
    # By the message's visibility where SQS allows that; otherwise by a fresh message, which dispatch sends in time.
    # Dispatch knows whether what performs the job answers again.
    is_held = isinstance(error, UnavailableError)
    stays = seconds <= LONGEST_VISIBILITY_SECONDS and each.receives < MOST_RECEIVES and not is_held
    dispatch_ms = due_ms + BACKUP_MS if stays else due_ms
    return replace(each, due_ms=due_ms, dispatch_ms=dispatch_ms, stays=stays, after_seconds=ceil(seconds))


def _seconds_until_next(each: JobAttempt) -> int:
    """Return when a message whose job could not be attempted is visible again: each time three times as late."""
    seconds: int = FIRST_WAIT_SECONDS * 3 ** (each.receives - 1)
    return min(seconds, LONGEST_WAIT_SECONDS)


def _summarise_alike(attempts: Sequence[JobAttempt]) -> None:
    if len(attempts) > 1:
        summarise_together((each.label, each.job_id, each.trace.id, each.ended) for each in attempts)
        return
    for each in attempts:
        _summarise(each)


def _summarise(each: JobAttempt) -> None:
    summarise("job", each.label, each.ended, **each.log_fields)


def _measure(attempts: Sequence[JobAttempt]) -> None:
    for type_, group in groupby(sorted(attempts, key=lambda each: each.label), key=lambda each: each.label):
        measure("job", type_, [each.ended for each in group])


def _acknowledge(queue: WorkQueue, attempts: Sequence[JobAttempt], staying: Sequence[JobAttempt]) -> None:
    delays = [(each.receipt_handle, each.after_seconds) for each in staying]
    queue.retry_later([(handle, seconds) for handle, seconds in delays if seconds is not None])
    queue.delete([each.receipt_handle for each in attempts if not each.stays])
