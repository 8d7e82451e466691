"""What the queue brings to a context: its queues of SQS, and the bodies of messages that are too long for SQS."""

from chalicelib.core.config import QueueSettings, StorageSettings
from chalicelib.core.context import Context, service
from chalicelib.queue.payloads import Payloads
from chalicelib.queue.sqs import DeadLetters, Queues, WorkQueue


@service
def queues(context: Context) -> Queues:
    """Return the work queues and the dead-letter queue."""
    settings, sqs = context.settings(QueueSettings), context.client("sqs")
    bodies = payloads(context)
    return Queues(
        work=WorkQueue(sqs, url=settings.work_queue_url, payloads=bodies, clock=context.clock),
        priority=WorkQueue(sqs, url=settings.priority_queue_url, payloads=bodies, clock=context.clock),
        dead_letters=DeadLetters(sqs, url=settings.dead_letter_queue_url, payloads=bodies),
    )


@service
def payloads(context: Context) -> Payloads:
    """Return the bodies of messages that are too long for SQS."""
    return Payloads(lambda: context.client("s3"), bucket=context.settings(StorageSettings).bucket)
