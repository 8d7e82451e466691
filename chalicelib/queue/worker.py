"""The worker: what an SQS event asks for is done, and what remains to be done stays on the queue."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from chalicelib import handlers
from chalicelib.core.context import Context
from chalicelib.core.errors import InvalidRequestError, NightshiftError
from chalicelib.core.telemetry import bound, logger, measure
from chalicelib.queue import delivery
from chalicelib.queue.batch import Batch
from chalicelib.queue.results import Result
from chalicelib.queue.work_queue import WorkQueue


class BatchFailedError(NightshiftError):
    """Raised to Lambda when messages remain to be done, so that the queue keeps them."""


def work(event: object, context: Context, *, queue: str, find: handlers.Find = handlers.find) -> dict[str, int]:
    """Do what each message of an SQS event asks for, and return the number of messages by outcome.

    Raises BatchFailedError while messages remain to be done, and InvalidRequestError for records that are no
    messages. It deletes the others itself first, because only that is right under both kinds of trigger: one that
    honours `batchItemFailures`, and that of a plain `chalice deploy`, which ignores the list and would delete the
    failed messages with the batch.
    """
    records, reasons = delivery.read_records(event)
    for reason in reasons:
        logger.error("the worker got what is no SQS message; check its trigger", extra={"reason": reason})
    batch = Batch(context, queue=queue, find=find)
    with bound(request_id=context.request_id):
        batch.work([delivery.read(record) for record in records])
    _measure(batch.results)
    staying = [result for result in batch.results if result.stays]
    if staying or reasons:
        _acknowledge(context.queues.named(queue), batch.results, staying)
        # A trigger deletes what an invocation that succeeds was given.
        if not staying:
            raise InvalidRequestError(f"{len(reasons)} of the worker's records are no messages: {reasons[0]}")
        raise BatchFailedError(f"{len(staying)} of {len(batch.results)} messages stay on the queue, to be tried again")
    return {"messages": len(records), **Counter(result.ended.outcome.value for result in batch.results)}


def _measure(results: Sequence[Result]) -> None:
    for type_, group in groupby(sorted(results, key=lambda result: result.type), key=lambda result: result.type):
        measure("job", type_, [result.ended for result in group])


def _acknowledge(queue: WorkQueue, results: Sequence[Result], staying: Sequence[Result]) -> None:
    handles = [(result.receipt_handle, result.after_seconds) for result in staying]
    queue.put_off([(handle, seconds) for handle, seconds in handles if seconds is not None])
    queue.delete([result.receipt_handle for result in results if not result.stays])
