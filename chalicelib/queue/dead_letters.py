"""The dead-letter queue: what was given up, each message with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.core.errors import TransientError
from chalicelib.queue.payloads import LIMIT, Payloads
from chalicelib.queue.work_queue import BATCH

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

# Long enough to look at every dead letter once, and short enough not to hide them from others for long.
LOOK_SECONDS = 60

# Beside each body that we bury; a producer has attributes of its own, and what has not all of these is not ours.
ATTRIBUTES = frozenset({"job_id", "error_type", "reason"})

# SQS refuses a whole message for one such character in an attribute.
_NOT_IN_ATTRIBUTES = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """A message of the dead-letter queue; one that SQS itself moved there says neither job nor reason."""

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

    def bury(self, body: str, *, job_id: str, error: Exception | None) -> None:
        """Put a message that was given up on the queue, with the reason as attributes.

        Raises TransientError when SQS does not take it.
        """
        values = {
            # Whoever wrote its row may have written anything, and one that stays would keep all others from being sent.
            "job_id": _NOT_IN_ATTRIBUTES.sub("?", job_id) or "?",
            "error_type": type(error).__name__,
            "reason": _NOT_IN_ATTRIBUTES.sub("?", str(error)[:1000]) or "no reason given",
        }
        # SQS counts a message as a whole: one that is too long by its reason alone would never be taken.
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

    def look(self) -> Iterator[DeadLetter]:
        """Return each message that is not being looked at by somebody else; it is hidden for a minute meanwhile."""
        while True:
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=BATCH,
                VisibilityTimeout=LOOK_SECONDS,
                # Not at once: SQS asks a part of its servers only then, and may find nothing where there is something.
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
        """Take a message off the queue."""
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=letter.receipt_handle)

    def release(self, letter: DeadLetter) -> None:
        """Let others see a message again at once."""
        self._sqs.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=letter.receipt_handle, VisibilityTimeout=0
        )

    def count(self) -> int:
        """Return the number of messages."""
        names: Any = ["ApproximateNumberOfMessages"]
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)["Attributes"]
        return int(attributes["ApproximateNumberOfMessages"])
