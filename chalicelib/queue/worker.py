"""The worker: each message of a batch is one attempt at one job; what remains to be done stays on the queue."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from chalicelib import handlers
from chalicelib.attempts import Attempt, attempt
from chalicelib.context import Context
from chalicelib.errors import BatchFailedError, InvalidRequestError, OutOfTimeError
from chalicelib.handlers import Handler
from chalicelib.outcome import Counts, Outcome
from chalicelib.queue.message import decode, read_data
from chalicelib.telemetry import bound, report

Record = Mapping[str, Any]


def work(event: object, context: Context) -> dict[str, int]:
    """Do what each message of an SQS event asks for, and return the number of messages by outcome.

    Raises BatchFailedError while messages remain to be done. It deletes the others itself first, because only that
    is right under both kinds of trigger: one that honours `batchItemFailures`, and that of a plain
    `chalice deploy`, which ignores the list and would delete the failed messages with the batch.
    """
    records = _read_records(event)
    outcomes = [_perform(record, context) for record in records]
    failed = outcomes.count(Outcome.FAILED)
    if failed:
        pairs = zip(records, outcomes, strict=True)
        context.queue.delete([record["receiptHandle"] for record, outcome in pairs if outcome is not Outcome.FAILED])
        raise BatchFailedError(f"{failed} of {len(records)} messages stay on the queue, to be tried again")
    return {"messages": len(records), **Counter(outcome.value for outcome in outcomes)}


def _read_records(event: object) -> Sequence[Record]:
    records = event.get("Records", []) if isinstance(event, Mapping) else None
    if not isinstance(records, list) or (not records and event):
        raise InvalidRequestError("the worker takes SQS events, with their messages under Records; enqueue instead")
    return records


def _perform(record: Record, context: Context) -> Outcome:
    clock = context.clock
    with bound(message_id=record["messageId"], request_id=context.request_id):
        read = attempt(lambda: _read(record["body"]), clock=clock, last=False)
        # A type without a handler is no dimension of a metric: anybody can send any.
        name, ended = "unknown", cast("Attempt[Any]", read)
        if read.value is not None:
            handler, payload = read.value
            name, ended = handler.type, attempt(lambda: _call(context, handler, payload), clock=clock, last=False)
        if ended.outcome is Outcome.DEAD:
            given_up = ended.error
            buried = attempt(lambda: context.queue.bury(record["body"], error=given_up), clock=clock, last=False)
            ended = ended if buried.error is None else buried
        report("job", name, ended)
        return ended.outcome


def _read(body: str) -> tuple[Handler, Any]:
    message = decode(body)
    handler = handlers.find(message.type)
    return handler, read_data(message.data, handler.payload)


def _call(context: Context, handler: Handler, payload: Any) -> Counts:
    if context.is_out_of_time():
        raise OutOfTimeError("the deadline is near; the message stays on the queue")
    return handler.perform(context, payload)
