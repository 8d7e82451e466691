"""Invoking functions of app.py as Lambda does, and feeding the worker as SQS's trigger does."""

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


@dataclass(frozen=True, kw_only=True)
class LocalContext:
    """Lambda's context object, as far as functions look at it, with a clock; once `hurry` is set, no time is left."""

    function_name: str
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    clock: Clock = field(default_factory=SystemClock)
    started: float = field(default_factory=time.monotonic)
    timeout_ms: int = TIMEOUT_MS
    hurry: Event = field(default_factory=Event)

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds that are left of the time-out."""
        if self.hurry.is_set():
            return 0
        return self.timeout_ms - round((time.monotonic() - self.started) * 1000)


def invoke(function: str, event: object, *, timeout_ms: int = TIMEOUT_MS) -> Any:
    """Call a function of app.py, with the event and the answer through JSON as on Lambda."""
    app = importlib.import_module("app")
    context = LocalContext(function_name=function, timeout_ms=timeout_ms)
    answer = getattr(app, function)(json.loads(json.dumps(event)), context)
    return json.loads(json.dumps(answer))


def scheduled_event(moment: datetime) -> dict[str, Any]:
    """Return what EventBridge sends at this moment."""
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
    """Return what Lambda's SQS trigger sends for messages as received from the queue."""
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
    """Return what Lambda is called with when somebody publishes this to a topic."""
    topic = "arn:aws:sns:us-east-1:123456789012:nightshift-mail-feedback"
    told = {"Type": "Notification", "MessageId": str(uuid.uuid4()), "TopicArn": topic, "Subject": None}
    record = {"EventSource": "aws:sns", "EventVersion": "1.0", "EventSubscriptionArn": f"{topic}:local"}
    return {"Records": [{**record, "Sns": {**told, "Message": message, "MessageAttributes": {}}}]}


@dataclass(frozen=True, kw_only=True)
class Drained:
    """What became of a queue's messages: invocations that deleted their batch, and that did not."""

    succeeded: int = 0
    failed: int = 0


def drain(sqs: Any, queue_url: str, *, batch_size: int = 10) -> Drained:
    """Invoke the worker with batches of messages until the queue has none that is visible.

    Like the trigger of a plain `chalice deploy`: a batch is deleted whole when the worker returns, and stays whole,
    invisible, when it raises.
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
