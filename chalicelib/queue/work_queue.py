"""An SQS queue of work: sending, acknowledging, and putting messages off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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


class WorkQueue:
    """One queue that a worker takes its messages from."""

    def __init__(self, sqs: SQSClient, *, url: str, payloads: Payloads, clock: Clock) -> None:
        self._sqs = sqs
        self._url = url
        self._payloads = payloads
        self._clock = clock

    def send(self, messages: Sequence[Message], *, delays_ms: Sequence[int] | None = None) -> None:
        """Put messages on the queue, ten a call; entries that SQS refuses are sent again.

        A message is delivered once its delay is over, at most 15 minutes, rounded up to seconds. Raises
        InvalidRequestError for what is no message, before any is sent, and TransientError when some could not be
        sent; the others are on the queue all the same.
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
        """Acknowledge messages. One that cannot be deleted comes back, and its effects are not repeated.

        Raises TransientError when SQS does not answer.
        """
        for batch in batches(receipt_handles):
            entries: Any = [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(batch)]
            try:
                self._sqs.delete_message_batch(QueueUrl=self._url, Entries=entries)
            except (BotoCoreError, ClientError) as error:
                raise TransientError(f"done messages could not be deleted: {error}") from error

    def put_off(self, seconds: Sequence[tuple[str, int]]) -> None:
        """Let messages, by receipt handle, come again after so many seconds instead of the queue's own time.

        Raises TransientError when SQS does not answer; they come again all the same.
        """
        for batch in batches(seconds):
            entries: Any = [
                {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": delay}
                for n, (handle, delay) in enumerate(batch)
            ]
            try:
                self._sqs.change_message_visibility_batch(QueueUrl=self._url, Entries=entries)
            except (BotoCoreError, ClientError) as error:
                raise TransientError(f"messages could not be put off: {error}") from error

    def describe(self) -> dict[str, int]:
        """Return the number of messages waiting, delayed and in work, and the visibility in seconds."""
        found = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["All"])["Attributes"]
        attributes = dict[Any, str](found)
        return {
            "waiting": int(attributes["ApproximateNumberOfMessages"]),
            "delayed": int(attributes["ApproximateNumberOfMessagesDelayed"]),
            "in_work": int(attributes["ApproximateNumberOfMessagesNotVisible"]),
            "visibility_seconds": int(attributes["VisibilityTimeout"]),
        }


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
    """Return by what X-Ray draws the way from this function to the worker, where it is switched on."""
    header = telemetry.xray_header()
    if header is None:
        return {}
    return {"MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": header}}}


def _seconds(delay_ms: int) -> int:
    return min(max(-(-delay_ms // 1000), 0), LONGEST_DELAY_SECONDS)
