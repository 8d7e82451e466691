"""The SQS queues of a deployment: two work queues, each with its worker, and their dead-letter queue."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core import telemetry
from chalicelib.core.clock import Clock
from chalicelib.core.errors import TransientError
from chalicelib.queue.message import Message, encode
from chalicelib.queue.payloads import LIMIT, Payloads

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import BatchResultErrorEntryTypeDef
    from types_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef as Entry

T = TypeVar("T")

# SQS takes ten entries a call.
BATCH = 10
SEND_ATTEMPTS = 4
LONGEST_DELAY_SECONDS = 900
# Long enough to read every dead letter once, and short enough not to hide them from others for long.
HIDDEN_SECONDS = 60
# The attributes of our dead letters; a message without all of them was not sent there by a worker or by dispatch.
ATTRIBUTES = frozenset({"job_id", "error_type", "reason"})
# SQS refuses a whole message for one such character in an attribute.
_NOT_IN_ATTRIBUTES = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class WorkQueue:
    """One queue of messages for a worker."""

    def __init__(self, sqs: SQSClient, *, url: str, payloads: Payloads, clock: Clock) -> None:
        self._sqs = sqs
        self._url = url
        self._payloads = payloads
        self._clock = clock

    def send(self, messages: Sequence[Message], *, delays_ms: Sequence[int] | None = None) -> None:
        """Put messages on the queue, ten a call; entries that SQS refuses are sent again.

        A message is delivered once its delay is over, at most 15 minutes, rounded up to seconds. Raises
        InvalidRequestError for an invalid message, before any is sent, and TransientError when some could not be
        sent; the others are on the queue.
        """
        bodies = [encode(message) for message in messages]
        delays = [_seconds(delay) for delay in delays_ms or [0] * len(bodies)]
        stored = [self._payloads.store(body) if len(body) > LIMIT else body for body in bodies]
        entries: list[Any] = [
            {"Id": str(n), "MessageBody": body, "DelaySeconds": delay, **_xray()}
            for n, (body, delay) in enumerate(zip(stored, delays, strict=True))
        ]
        # SQS's limit of a message is also that of a whole call.
        calls = by_size(entries, size_of=_body_length, most=BATCH, longest=LIMIT)
        refused = [reason for batch in calls for reason in self._send_batch(batch)]
        if refused:
            raise TransientError(f"the work queue refused {len(refused)} messages: {refused[0]}")

    def _send_batch(self, entries: list[Entry]) -> list[str]:
        """Send up to ten entries, and return the reason of each that every try refused."""
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
        """Acknowledge messages. One that cannot be deleted comes back, and its effects are not repeated.

        Raises TransientError when SQS does not answer.
        """
        for batch in batches(receipt_handles):
            entries: Any = [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(batch)]
            try:
                self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)
            except (BotoCoreError, ClientError) as error:
                raise TransientError(f"finished messages could not be deleted: {error}") from error

    def retry_later(self, seconds: Sequence[tuple[str, int]]) -> None:
        """Make messages, by receipt handle, visible after so many seconds instead of the queue's own time-out.

        Raises TransientError when SQS does not answer; then the queue's own time-out holds.
        """
        for batch in batches(seconds):
            entries: Any = [
                {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": delay}
                for n, (handle, delay) in enumerate(batch)
            ]
            try:
                self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
            except (BotoCoreError, ClientError) as error:
                raise TransientError(f"the visibility of messages could not be changed: {error}") from error

    def describe(self) -> dict[str, int]:
        """Return the number of messages waiting, delayed and in work, and the visibility time-out in seconds."""
        found = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["All"])["Attributes"]
        attributes = dict[Any, str](found)
        return {
            "waiting": int(attributes["ApproximateNumberOfMessages"]),
            "delayed": int(attributes["ApproximateNumberOfMessagesDelayed"]),
            "in_work": int(attributes["ApproximateNumberOfMessagesNotVisible"]),
            "visibility_seconds": int(attributes["VisibilityTimeout"]),
        }


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A message of the dead-letter queue; one that SQS itself moved there has neither job nor reason."""

    message_id: str
    receipt_handle: str
    body: str
    job_id: str | None
    reason: str | None


class DeadLetters:
    """The dead-letter queue of all workers."""

    def __init__(self, sqs: SQSClient, *, url: str, payloads: Payloads) -> None:
        self._sqs = sqs
        self._url = url
        self._payloads = payloads

    def send(self, body: str, *, job_id: str, error: Exception | None) -> None:
        """Put a message that was given up on the queue, with the reason as attributes.

        Raises TransientError when SQS does not take it.
        """
        values = {
            # Other services insert rows too: a row that SQS refuses must not keep dispatch from sending the others.
            "job_id": _NOT_IN_ATTRIBUTES.sub("?", job_id) or "?",
            "error_type": type(error).__name__,
            "reason": _NOT_IN_ATTRIBUTES.sub("?", str(error)[:1000]) or "no reason given",
        }
        # SQS counts body and attributes together: it would never accept a message that the reason makes too long.
        size = len(body.encode()) + sum(len(f"{name}String{value}".encode()) for name, value in values.items())
        try:
            self._sqs.send_message(
                QueueUrl=self._url,
                MessageBody=self._payloads.store(body) if size > LIMIT else body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in values.items()
                },
            )
        except (BotoCoreError, ClientError) as refusal:
            raise TransientError(f"the dead-letter queue does not take messages: {refusal}") from refusal

    def receive(self) -> Iterator[DeadLetter]:
        """Return each visible message; it is hidden from other readers for a minute."""
        while True:
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=BATCH,
                VisibilityTimeout=HIDDEN_SECONDS,
                # With no wait, SQS asks only some of its servers, and may miss messages.
                WaitTimeSeconds=1,
                MessageAttributeNames=["All"],
            )
            messages = answer.get("Messages", [])
            for message in messages:
                attributes: Any = message.get("MessageAttributes", {})
                ours = attributes if attributes.keys() >= ATTRIBUTES else {}
                yield DeadLetter(
                    message_id=message["MessageId"],
                    receipt_handle=message["ReceiptHandle"],
                    body=message["Body"],
                    job_id=ours.get("job_id", {}).get("StringValue"),
                    reason=ours.get("reason", {}).get("StringValue"),
                )
            if not messages:
                return

    def delete(self, letter: DeadLetter) -> None:
        """Delete a message from the queue."""
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=letter.receipt_handle)

    def release(self, letter: DeadLetter) -> None:
        """Make a message visible again at once."""
        self._sqs.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=letter.receipt_handle, VisibilityTimeout=0
        )

    def count(self) -> int:
        """Return the number of messages."""
        names: Any = ["ApproximateNumberOfMessages"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)["Attributes"]
        return int(attributes["ApproximateNumberOfMessages"])


@dataclass(frozen=True, kw_only=True)
class Queues:
    """Both work queues, each with its own worker, and their dead-letter queue."""

    work: WorkQueue
    priority: WorkQueue
    dead_letters: DeadLetters

    def named(self, name: str) -> WorkQueue:
        """Return the queue of this name in a row of `jobs`: the work queue unless it is `priority`."""
        return self.priority if name == "priority" else self.work


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return the items in batches as large as SQS takes."""
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def by_size(items: Iterable[T], *, size_of: Callable[[T], int], most: int, longest: int) -> Iterator[list[T]]:
    """Yield batches of at most `most` items whose sizes add up to at most `longest`; a larger item goes alone."""
    batch: list[T] = []
    size = 0
    for item in items:
        if batch and (len(batch) == most or size + size_of(item) > longest):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += size_of(item)
    if batch:
        yield batch


def _body_length(entry: Entry) -> int:
    return len(entry["MessageBody"])


def _xray() -> dict[str, Any]:
    """Return the attribute by which X-Ray links this function to the worker, where it is switched on."""
    header = telemetry.xray_header()
    if header is None:
        return {}
    return {"MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": header}}}


def _seconds(delay_ms: int) -> int:
    return min(max(-(-delay_ms // 1000), 0), LONGEST_DELAY_SECONDS)
