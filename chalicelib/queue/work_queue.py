"""The SQS queues: sending, deleting, and burying what was given up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.clock import Clock
from chalicelib.errors import TransientError
from chalicelib.queue.message import Message, encode

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import BatchResultErrorEntryTypeDef
    from types_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef as Entry

T = TypeVar("T")

# SQS takes ten entries a call.
BATCH = 10
SEND_ATTEMPTS = 4

# SQS refuses a whole message for one such character in an attribute.
_NOT_IN_ATTRIBUTES = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class WorkQueue:
    """The work queue and its dead-letter queue."""

    def __init__(self, sqs: SQSClient, *, url: str, dead_letter_url: str, clock: Clock) -> None:
        self._sqs = sqs
        self._url = url
        self._dead_letter_url = dead_letter_url
        self._clock = clock

    def send(self, messages: Sequence[Message]) -> None:
        """Put messages on the queue, ten a call; entries that SQS refuses are sent again.

        Raises TransientError when some could not be sent; the others are on the queue all the same.
        """
        refused: list[str] = []
        for batch in _batches(messages):
            refused += self._send_batch(
                [{"Id": str(i), "MessageBody": encode(message)} for i, message in enumerate(batch)]
            )
        if refused:
            raise TransientError(f"the work queue refused {len(refused)} messages: {refused[0]}")

    def _send_batch(self, entries: list[Entry]) -> list[str]:
        """Send up to ten entries, and return the reason of each that was refused to the end."""
        failures: Sequence[BatchResultErrorEntryTypeDef] = []
        for attempt in range(1, SEND_ATTEMPTS + 1):
            try:
                failures = self._sqs.send_message_batch(QueueUrl=self._url, Entries=entries).get("Failed", [])
            except (BotoCoreError, ClientError) as error:
                raise TransientError(f"the work queue does not take messages: {error}") from error
            if not failures:
                break
            ids = {failure["Id"] for failure in failures}
            entries = [entry for entry in entries if entry["Id"] in ids]
            if attempt < SEND_ATTEMPTS:
                self._clock.sleep(0.1 * 2**attempt)
        return [failure.get("Message", failure["Code"]) for failure in failures]

    def delete(self, receipt_handles: Sequence[str]) -> None:
        """Acknowledge messages. One that cannot be deleted comes back, and its effects are not repeated."""
        for batch in _batches(receipt_handles):
            self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=[{"Id": str(i), "ReceiptHandle": handle} for i, handle in enumerate(batch)],
            )

    def describe(self) -> dict[str, int]:
        """Return the number of messages waiting, in work and given up, and the visibility in seconds."""
        work, dead = self._read_attributes(self._url), self._read_attributes(self._dead_letter_url)
        return {
            "waiting": int(work["ApproximateNumberOfMessages"]),
            "in_work": int(work["ApproximateNumberOfMessagesNotVisible"]),
            "visibility_seconds": int(work["VisibilityTimeout"]),
            "dead_letters": int(dead["ApproximateNumberOfMessages"]),
        }

    def _read_attributes(self, url: str) -> dict[Any, str]:
        return dict(self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"])

    def bury(self, body: str, *, error: Exception | None) -> None:
        """Put a message that was given up on the dead-letter queue, with the reason as attributes."""
        reason = _NOT_IN_ATTRIBUTES.sub("?", str(error)[:1000]) or "no reason given"
        self._sqs.send_message(
            QueueUrl=self._dead_letter_url,
            MessageBody=body,
            MessageAttributes={
                "error_type": {"DataType": "String", "StringValue": type(error).__name__},
                "reason": {"DataType": "String", "StringValue": reason},
            },
        )


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))
