"""Claiming the jobs of one SQS batch: what of the deliveries and handlers the claim's statements need."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from chalicelib.core.attempt import attempt
from chalicelib.core.context import Context
from chalicelib.handlers import Find, Handler
from chalicelib.queue import claims
from chalicelib.queue.delivery import Delivery
from chalicelib.queue.job import INVALID
from chalicelib.queue.results import BACKUP_MS
from chalicelib.queue.verdict import Claim, Decision, Policy

# How often it is tried to read a body that is in the bucket, where reading it ends the process.
READ_ATTEMPTS = 3


class Claimer:
    """Claims jobs for one invocation of the worker."""

    def __init__(self, context: Context, *, queue: str, find: Find, claim: Claim) -> None:
        self._context = context
        self._queue = queue
        self._find = find
        self._claim = claim

    def take(self, deliveries: Sequence[Delivery], *, alone: bool) -> dict[str, Decision]:
        """Return what is to be done about each delivery, by job id. Errors as of `claims.take`."""
        claim = replace(self._claim, now_ms=self._context.clock.now_ms())
        asked = {each.job_id: each.new_row(queue=self._queue, now_ms=claim.now_ms) for each in deliveries}
        redriven = {each.job_id: each.sent_ms for each in deliveries if each.is_redriven}
        # Its message has no id of its own, and comes for the first time: looking for it would cost a round trip.
        believed_new = {each.job_id for each in deliveries if each.is_first and not alone}
        without_data = {each.job_id for each in deliveries if each.message and each.message.data_in_row}

        def take_from(connection: Connection) -> dict[str, Decision]:
            for id_, sent_ms in redriven.items():
                # Of one that was begun again since, the message is only a copy.
                claims.reopen(connection, [id_], dispatch_ms=claim.now_ms + BACKUP_MS, begun_before_ms=sent_ms)
            paused = claims.paused_types(connection)

            def decide(believed_new: Collection[str]) -> dict[str, Decision]:
                return claims.take(
                    connection,
                    asked,
                    believed_new=believed_new,
                    without_data=without_data,
                    paused=paused,
                    policy_of=self._policy_of,
                    claim=claim,
                    alone=alone,
                )

            try:
                return decide(believed_new)
            except IntegrityError:
                # One is there after all, or another worker recorded it between our look and our insert.
                return decide(())

        return self._context.database.autocommit(take_from)

    def handler_of(self, type_: str) -> Handler | None:
        """Return the handler of a type, where it has one that can be used."""
        # What a broken module raises is raised again where its job is read.
        return attempt(lambda: self._find(type_), clock=self._context.clock, last=False).value

    def _policy_of(self, type_: str) -> Policy:
        handler = self.handler_of(type_)
        if type_ == INVALID:
            return Policy(max_attempts=READ_ATTEMPTS, interval_ms=None)
        if handler is None:
            return Policy(max_attempts=1, interval_ms=None)
        return Policy(max_attempts=handler.max_attempts, interval_ms=handler.rate.interval_ms if handler.rate else None)
