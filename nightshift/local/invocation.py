"""Invoke functions of app.py as Lambda, EventBridge, SQS and SNS do, on a clock that can be set."""

import importlib
import json
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event
from typing import Any

from chalicelib.core.clock import Clock, SystemClock, iso

TIMEOUT_MS = 300_000


class LocalClock(SystemClock):
    """The system clock, shifted by some milliseconds."""

    def __init__(self, *, ahead_ms: int) -> None:
        self.ahead_ms = ahead_ms

    def now_ms(self) -> int:
        """Return the time as epoch milliseconds."""
        return super().now_ms() + self.ahead_ms

    def set(self, milliseconds: int) -> None:
        """Set the time, in epoch milliseconds."""
        self.ahead_ms = milliseconds - super().now_ms()

    def advance(self, milliseconds: float) -> None:
        """Move the time forward."""
        self.ahead_ms += round(milliseconds)


@dataclass(frozen=True, kw_only=True)
class LocalContext:
    """The part of Lambda's context object that functions use, with a clock. Once `hurry` is set, no time remains."""

    function_name: str
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    clock: Clock = field(default_factory=SystemClock)
    started: float = field(default_factory=time.monotonic)
    timeout_ms: int = TIMEOUT_MS
    hurry: Event = field(default_factory=Event)

    def get_remaining_time_in_millis(self) -> int:
        """Return the remaining milliseconds of the time-out."""
        if self.hurry.is_set():
            return 0
        return self.timeout_ms - round((time.monotonic() - self.started) * 1000)


def invoke(function: str, event: object, *, timeout_ms: int = TIMEOUT_MS) -> Any:
    """Call a function of app.py; event and answer pass through JSON, as on Lambda."""
    context = LocalContext(function_name=function, timeout_ms=timeout_ms)
    call = getattr(importlib.import_module("app"), function)
    return json.loads(json.dumps(call(json.loads(json.dumps(event)), context)))


def scheduled_event(moment: datetime) -> dict[str, Any]:
    """Return the event that EventBridge sends at this time."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "123456789012",
        "time": iso(moment),
        "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:123456789012:rule/local"],
        "detail": {},
    }


def sqs_event(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the event of Lambda's SQS trigger for messages received from the queue."""
    return {
        "Records": [
            {
                "messageId": message["MessageId"],
                "receiptHandle": message["ReceiptHandle"],
                "body": message["Body"],
                "attributes": message.get("Attributes", {}),
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:nightshift-work",
                "awsRegion": "us-east-1",
            }
            for message in messages
        ]
    }


def sns_event(message: str) -> dict[str, Any]:
    """Return the event of a message published to the SNS topic."""
    topic = "arn:aws:sns:us-east-1:123456789012:nightshift-mail-feedback"
    notification: dict[str, Any] = {
        "Type": "Notification",
        "MessageId": str(uuid.uuid4()),
        "TopicArn": topic,
        "Subject": None,
        "Message": message,
        "MessageAttributes": {},
    }
    record = {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": f"{topic}:local"}
    return {"Records": [{**record, "Sns": notification}]}


@dataclass(frozen=True, kw_only=True)
class Drained:
    """How many invocations of the worker succeeded, and how many failed."""

    succeeded: int = 0
    failed: int = 0


def drain(sqs: Any, queue_url: str, *, batch_size: int = 10) -> Drained:
    """Invoke the worker with batches of messages until none is visible.

    As with the trigger of a plain `chalice deploy`, a batch is deleted as a whole if the worker returns, and kept as a
    whole if it raises.
    """
    succeeded = failed = 0
    while True:
        answer = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=batch_size, WaitTimeSeconds=0)
        messages = answer.get("Messages", [])
        if not messages:
            return Drained(succeeded=succeeded, failed=failed)
        try:
            invoke("work", sqs_event(messages))
        except Exception:  # noqa: BLE001 (Lambda takes any error of a function for a failed invocation)
            failed += 1
            continue
        succeeded += 1
        sqs.delete_message_batch(
            QueueUrl=queue_url,
            Entries=[{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)],
        )
