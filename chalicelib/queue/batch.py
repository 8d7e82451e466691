"""The jobs of one SQS batch: claimed together, performed one by one, recorded together where that is as safe."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from chalicelib.attempts import Attempt, attempt
from chalicelib.claims import LEASE_GRACE_MS
from chalicelib.context import Context
from chalicelib.database import is_server_fault
from chalicelib.errors import NotOursError, OutOfTimeError, TransientError
from chalicelib.handlers import Find, Handler
from chalicelib.queue import claims, endings
from chalicelib.queue.delivery import Delivery
from chalicelib.queue.execution import execute
from chalicelib.queue.outbox import send_now
from chalicelib.queue.results import (
    BACKUP_MS,
    Performed,
    Result,
    after_attempt,
    seconds_until_next,
    type_of,
    without_attempt,
)
from chalicelib.queue.verdict import Claim, Decision, Policy, Verdict
from chalicelib.telemetry import bound, logger, summarise, summarise_together
from chalicelib.trace import carried

# No call that leaves the process comes back sooner. What took longer may have had an effect outside, and is recorded
# before the next begins; so a kill repeats one such effect at most, as if nothing were recorded together.
ALONE_AFTER_SECONDS = 100e-6


class Batch:
    """One invocation of the worker; `results` is what became of each delivery."""

    def __init__(self, context: Context, *, queue: str, find: Find) -> None:
        now_ms = context.clock.now_ms()
        lease_until = now_ms + context.remaining_ms() + LEASE_GRACE_MS
        self._context = context
        self._queue = queue
        self._find = find
        self._claim = Claim(by=context.request_id, now_ms=now_ms, lease_until=lease_until)
        self._unrecorded: list[Performed] = []
        self._unbegun: list[Delivery] = []
        self._has_begun = False
        self.results: list[Result] = []

    def work(self, deliveries: Sequence[Delivery]) -> None:
        """Do what the deliveries ask for."""
        asked: dict[str, Delivery] = {}
        # First those that somebody moved back: only they have what was given up tried again.
        for each in sorted(deliveries, key=lambda each: not each.is_redriven):
            if isinstance(each.refusal, TransientError):
                self._leave(each, each.refusal, after_seconds=seconds_until_next(each))
            elif each.job_id in asked:
                self._settle(each, "another message of this batch asks for the same job")
            else:
                asked[each.job_id] = each
        for apart in self._work_through(list(asked.values()), alone=False):
            # What was performed before is recorded first: this may be what ends the process.
            self._record()
            self._work_through([apart], alone=True)
        self._record()
        self._hand_back()

    def _work_through(self, deliveries: Sequence[Delivery], *, alone: bool) -> list[Delivery]:
        """Claim the jobs and perform those that are ours; return the deliveries that are to be taken alone."""
        if self._context.is_out_of_time():
            self._unbegun += deliveries
            return []
        taken = attempt(lambda: self._take(deliveries, alone=alone), clock=self._context.clock, last=False)
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
                self._perform(each, decision)
            elif decision.verdict is Verdict.HELD:
                self._leave(each, NotOursError(decision.reason))
            elif decision.verdict is not Verdict.TAKE_ALONE:
                self._settle(each, decision.reason)
        put_off = [id_ for id_, (_, decision) in decisions.items() if decision.verdict is Verdict.PUT_OFF]
        if put_off:
            send_now(self._context.database, self._context.queues, put_off, clock=self._context.clock)
        return [each for each, decision in decisions.values() if decision.verdict is Verdict.TAKE_ALONE]

    def _take(self, deliveries: Sequence[Delivery], *, alone: bool) -> dict[str, Decision]:
        claim = replace(self._claim, now_ms=self._context.clock.now_ms())
        asked = {each.job_id: each.new_row(queue=self._queue, now_ms=claim.now_ms) for each in deliveries}
        redriven = {each.job_id: each.sent_ms for each in deliveries if each.is_redriven}
        # Its message has no id of its own, and comes for the first time: looking for it would cost a round trip.
        believed_new = {each.job_id for each in deliveries if each.is_first and not alone}

        def take(connection: Connection, believed_new: Collection[str]) -> dict[str, Decision]:
            for id_, sent_ms in redriven.items():
                # Of one that was begun again since, the message is only a copy.
                claims.reopen(connection, [id_], dispatch_ms=claim.now_ms + BACKUP_MS, begun_before_ms=sent_ms)
            return claims.take(
                connection, asked, believed_new=believed_new, policy_of=self._policy_of, claim=claim, alone=alone
            )

        try:
            return self._context.database.autocommit(lambda connection: take(connection, believed_new))
        except IntegrityError:
            # One is there after all, or another worker recorded it between our look and our insert.
            return self._context.database.autocommit(lambda connection: take(connection, ()))

    def _perform(self, delivery: Delivery, decision: Decision) -> None:
        handler = self._get(decision.row.type) if decision.row is not None else None
        if not self._has_time_for(handler):
            self._unbegun.append(delivery)
            return
        self._has_begun = True
        with bound(type=type_of(handler), **_bindings(delivery, decision)), carried(delivery.trace):
            ended, seconds = execute(self._context, handler, delivery, decision, find=self._find)
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
        if recorded.value:
            logger.warning("attempts at jobs ended after others had taken them over", extra={"jobs": recorded.value})
        if recorded.error is not None:
            # What is not recorded is not done: the message stays, and the next attempt begins when the lease is over.
            results = tuple(replace(result, ended=recorded, stays=True, after_seconds=None) for result in results)
        self.results += results
        done = [pair for pair in zip(performed, results, strict=True) if pair[1].ended.error is None]
        if len(done) > 1:
            summarise_together(
                (result.type, each.delivery.job_id, each.delivery.trace.id, result.ended) for each, result in done
            )
        for each, result in zip(performed, results, strict=True):
            if result.ended.error is not None or len(done) == 1:
                summarise("job", result.type, result.ended, **_bindings(each.delivery, each.decision))

    def _hand_back(self) -> None:
        ids, now_ms = [each.job_id for each in self._unbegun], self._context.clock.now_ms()
        if not ids:
            return
        released = self._attempt(
            lambda connection: endings.release(connection, ids, claim=self._claim, dispatch_ms=now_ms + BACKUP_MS)
        )
        # Until the lease is over, every other worker leaves alone what could not be given back.
        seconds = 0 if released.error is None else ceil((self._claim.lease_until - now_ms) / 1000)
        for each in self._unbegun:
            self._leave(each, OutOfTimeError("the deadline is near, and it was not begun"), after_seconds=seconds)

    def _leave(self, delivery: Delivery, error: Exception | None, *, after_seconds: int | None = None) -> None:
        result = without_attempt(delivery, self._get(delivery.type), error, stays=True, after_seconds=after_seconds)
        self._add(result, _bindings(delivery, None))

    def _settle(self, delivery: Delivery, reason: str) -> None:
        result = without_attempt(delivery, self._get(delivery.type), NotOursError(reason), stays=False)
        self._add(result, _bindings(delivery, None))

    def _add(self, result: Result, bindings: Mapping[str, object]) -> None:
        summarise("job", result.type, result.ended, **bindings)
        self.results.append(result)

    def _get(self, type_: str) -> Handler | None:
        # What a broken module raises is raised again where its job is read.
        return attempt(lambda: self._find(type_), clock=self._context.clock, last=False).value

    def _policy_of(self, type_: str) -> Policy:
        handler = self._get(type_)
        if handler is None:
            return Policy(max_attempts=1, interval_ms=None)
        return Policy(max_attempts=handler.max_attempts, interval_ms=handler.rate.interval_ms if handler.rate else None)

    def _attempt(self, work: Any) -> Attempt[Any]:
        return attempt(lambda: self._context.database.autocommit(work), clock=self._context.clock, last=False)


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
