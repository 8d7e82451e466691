"""The jobs of one SQS batch: claimed together, performed one by one, recorded together where that is as safe."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

from chalicelib.core.attempt import Attempt, attempt, forget_frames
from chalicelib.core.context import Context
from chalicelib.core.database import is_server_fault
from chalicelib.core.errors import AlreadyClaimed, OutOfTimeError, TransientError
from chalicelib.core.telemetry import bound, carried, logger, summarise, summarise_together
from chalicelib.handlers import Find, Handler
from chalicelib.queue import claims, endings
from chalicelib.queue.claimer import Claimer
from chalicelib.queue.delivery import Delivery, read_body
from chalicelib.queue.execution import execute
from chalicelib.queue.job import INVALID
from chalicelib.queue.outbox import send_now
from chalicelib.queue.results import (
    BACKUP_MS,
    MOST_RECEIVES,
    Performed,
    Result,
    after_attempt,
    seconds_until_next,
    type_of,
    without_attempt,
)
from chalicelib.queue.verdict import Claim, Decision, Verdict
from chalicelib.runs.claims import LEASE_GRACE_MS

# No call over the network comes back sooner. What took longer may have had an effect there, and is recorded before
# the next begins; so a kill repeats one such effect at most, as if nothing were recorded together.
ALONE_AFTER_SECONDS = 100e-6
SAME_JOB = "another message of this batch asks for the same job"


class Batch:
    """One invocation of the worker; `results` is what became of each delivery."""

    def __init__(self, context: Context, *, queue: str, find: Find) -> None:
        now_ms = context.clock.now_ms()
        lease_until = now_ms + context.remaining_ms() + LEASE_GRACE_MS
        self._context = context
        self._find = find
        self._claim = Claim(by=context.request_id, now_ms=now_ms, lease_until=lease_until)
        self._claimer = Claimer(context, queue=queue, find=find, claim=self._claim)
        self._unrecorded: list[Performed] = []
        self._unbegun: list[Delivery] = []
        self._settled: list[tuple[Result, Mapping[str, object]]] = []
        self._asked: set[str] = set()
        self._has_begun = False
        self.results: list[Result] = []

    def work(self, deliveries: Sequence[Delivery]) -> None:
        """Do what the deliveries ask for."""
        asked: dict[str, Delivery] = {}
        # First those that somebody moved back: only they have what was given up tried again.
        for each in sorted(deliveries, key=lambda each: not each.is_redriven):
            if each.job_id in asked:
                self._settle(each, SAME_JOB)
            else:
                asked[each.job_id] = each
        self._asked |= asked.keys()
        together = [each for each in asked.values() if not each.is_unread]
        # After the others: what is long may be what ends the process.
        apart = [*self._work_through(together, alone=False), *(each for each in asked.values() if each.is_unread)]
        for each in apart:
            # What was performed before is recorded first: this may be what ends the process.
            self._record()
            self._work_through([each], alone=True)
        self._record()
        self._hand_back()
        _tell_alike(self._settled)

    def _work_through(self, deliveries: Sequence[Delivery], *, alone: bool) -> list[Delivery]:
        """Claim the jobs and perform those that are ours; return the deliveries that are to be taken alone."""
        if not deliveries:
            return []
        if self._context.is_out_of_time():
            self._unbegun += deliveries
            return []
        taken = attempt(lambda: self._claimer.take(deliveries, alone=alone), clock=self._context.clock, last=False)
        if taken.value is None:
            if not alone and not is_server_fault(taken.error):
                # It is one of them that the database does not take, or no handler can be made for.
                return list(deliveries)
            for each in deliveries:
                self._leave(each, taken.error, after_seconds=seconds_until_next(each))
            return []
        decisions = {each.job_id: (each, taken.value[each.job_id]) for each in deliveries}
        logger.debug(
            "jobs claimed", extra={"verdicts": {id_: decided.verdict for id_, (_, decided) in decisions.items()}}
        )
        for each, decision in decisions.values():
            if decision.verdict in {Verdict.TAKE, Verdict.GIVE_UP}:
                self._begin(each, decision)
            elif decision.verdict is Verdict.HELD and (each.receives < MOST_RECEIVES or each.is_unread):
                self._leave(each, AlreadyClaimed(decision.reason))
            elif decision.verdict is not Verdict.TAKE_ALONE:
                # Of a job that is held, dispatch sends a fresh message when the lease is over.
                self._settle(each, decision.reason)
        put_off = [id_ for id_, (_, decision) in decisions.items() if decision.verdict is Verdict.PUT_OFF]
        if put_off:
            send_now(self._context.database, self._context.queues, put_off, clock=self._context.clock)
        return [each for each, decision in decisions.values() if decision.verdict is Verdict.TAKE_ALONE]

    def _begin(self, delivery: Delivery, decision: Decision) -> None:
        row, is_taken = decision.row, decision.verdict is Verdict.TAKE
        if is_taken and delivery.is_unread and row.type == INVALID:
            self._read_and_work(delivery)
            return
        if not is_taken or decision.is_new or row.data is not None:
            self._perform(delivery, decision, long_data=None)
            return
        # What was performed before is recorded first: what is long may be what ends the process.
        self._record()
        read = self._attempt(lambda connection: claims.read_long(connection, row.id, claim=self._claim))
        if read.error is not None:
            self._leave(delivery, read.error)
            return
        self._perform(delivery, decision, long_data=read.value)
        self._record()

    def _read_and_work(self, delivery: Delivery) -> None:
        """Read a body that is in the bucket, and do what it asks for; until it is read, a claim stands for its job."""
        read = read_body(delivery, self._context.payloads)
        forgotten = self._attempt(
            lambda connection: endings.forget_unread(connection, delivery.job_id, claim=self._claim)
        )
        if forgotten.error is not None:
            self._leave(delivery, forgotten.error)
        elif isinstance(read.refusal, TransientError):
            self._leave(read, read.refusal, after_seconds=seconds_until_next(read))
        elif read.job_id != delivery.job_id and read.job_id in self._asked:
            self._settle(read, SAME_JOB)
        else:
            self._asked.add(read.job_id)
            self._work_through([read], alone=True)
            self._record()

    def _perform(self, delivery: Delivery, decision: Decision, *, long_data: str | None) -> None:
        handler = self._claimer.handler_of(decision.row.type) if decision.row is not None else None
        if not self._has_time_for(handler):
            self._unbegun.append(delivery)
            return
        self._has_begun = True
        with bound(type=type_of(handler), **_bindings(delivery, decision)), carried(delivery.trace):
            ended, seconds = execute(self._context, handler, delivery, decision, long_data=long_data, find=self._find)
        self._unrecorded.append(Performed(delivery=delivery, decision=decision, handler=handler, ended=ended))
        if seconds > ALONE_AFTER_SECONDS or ended.error is not None:
            self._record()

    def _has_time_for(self, handler: Handler | None) -> bool:
        # A fresh invocation has more time; but each must begin one job, or none would ever be begun.
        seconds = (handler.timeout_seconds or 0) if handler and self._has_begun else 0
        return not self._context.is_out_of_time(needed_ms=round(1000 * seconds))

    def _record(self) -> None:
        performed, self._unrecorded = self._unrecorded, []
        if not performed:
            return
        now_ms = self._context.clock.now_ms()
        results, all_rows = zip(*(after_attempt(each, now_ms=now_ms) for each in performed), strict=True)
        # One that could not be recorded has no row, and the database would take that of another for it.
        rows = [row for each, row in zip(performed, all_rows, strict=True) if each.decision.row is not None]
        recorded = self._attempt(lambda connection: endings.record(connection, rows, claim=self._claim, now_ms=now_ms))
        if recorded.error is not None and len(performed) > 1 and not is_server_fault(recorded.error):
            # It is one of them that the database does not take.
            for each in performed:
                self._unrecorded = [each]
                self._record()
            return
        if recorded.value:
            logger.warning("attempts at jobs ended after others had taken them over", extra={"jobs": recorded.value})
        if recorded.error is not None:
            # What is not recorded is not done: the message stays, and the next attempt begins when the lease is over.
            results = tuple(replace(result, ended=recorded, stays=True, after_seconds=None) for result in results)
        self.results += results
        told = [
            (result, _bindings(each.delivery, each.decision)) for each, result in zip(performed, results, strict=True)
        ]
        _tell_alike([pair for pair in told if pair[0].ended.error is None])
        for result, of in told:
            if result.ended.error is not None:
                summarise("job", result.type, result.ended, **of)
            forget_frames(result.ended.error)

    def _hand_back(self) -> None:
        ids, now_ms = [each.job_id for each in self._unbegun], self._context.clock.now_ms()
        if not ids:
            return
        released = self._attempt(
            lambda connection: endings.release(connection, ids, claim=self._claim, dispatch_ms=now_ms + BACKUP_MS)
        )
        # Until the lease is over, every other worker leaves alone what could not be given back.
        seconds = 0 if released.error is None else ceil((self._claim.lease_until - now_ms) / 1000)
        # Each delivery counts for SQS, which gives up a message at its tenth: a fresh one takes its place before.
        tired = [each.job_id for each in self._unbegun if each.receives >= MOST_RECEIVES]
        fresh: set[str] = set()
        if tired:
            hastened = self._attempt(lambda connection: endings.hasten(connection, tired, now_ms=now_ms))
            fresh = hastened.value or set()
            send_now(self._context.database, self._context.queues, sorted(fresh), clock=self._context.clock)
        for each in self._unbegun:
            if each.job_id in fresh:
                self._settle(each, "the deadline is near, and a fresh message asks for the job")
            else:
                error = OutOfTimeError("the deadline is near, and it was not begun")
                self._leave(each, error, after_seconds=seconds)

    def _leave(self, delivery: Delivery, error: Exception | None, *, after_seconds: int | None = None) -> None:
        handler = self._claimer.handler_of(delivery.type)
        result = without_attempt(delivery, handler, error, stays=True, after_seconds=after_seconds)
        self._add(result, _bindings(delivery, None))

    def _settle(self, delivery: Delivery, reason: str) -> None:
        result = without_attempt(delivery, self._claimer.handler_of(delivery.type), AlreadyClaimed(reason), stays=False)
        self._settled.append((result, _bindings(delivery, None)))
        self.results.append(result)

    def _add(self, result: Result, bindings: Mapping[str, object]) -> None:
        summarise("job", result.type, result.ended, **bindings)
        self.results.append(result)

    def _attempt(self, work: Any) -> Attempt[Any]:
        return attempt(lambda: self._context.database.autocommit(work), clock=self._context.clock, last=False)


def _tell_alike(jobs: Sequence[tuple[Result, Mapping[str, object]]]) -> None:
    if len(jobs) > 1:
        summarise_together((each.type, str(of["job_id"]), str(of["trace_id"]), each.ended) for each, of in jobs)
        return
    for each, of in jobs:
        summarise("job", each.type, each.ended, **of)


def _bindings(delivery: Delivery, decision: Decision | None) -> dict[str, object]:
    bindings: dict[str, object] = {
        "message_id": delivery.message_id,
        "job_id": delivery.job_id,
        "trace_id": delivery.trace.id,
    }
    if decision is not None:
        bindings["attempt"] = decision.attempt
    if delivery.message and delivery.message.traceparent:
        bindings["traceparent"] = delivery.message.traceparent
    return bindings
