"""SQS, SES, S3 and Lambda in memory, on a clock of the test's own: as much of each as Nightshift calls."""

import io
import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.core.clock import Clock, from_ms

VISIBILITY_SECONDS = 1800
MOST_RECEIVES = 10
# Of a message with its attributes, and of all messages of one call.
MOST_BYTES = 262_144


@dataclass(kw_only=True)
class Held:
    """A message on a queue; deliverable from `visible_ms` on."""

    body: str
    attributes: dict[str, Any]
    sent_ms: int = 0
    visible_ms: int
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    receives: int = 0
    receipt: str | None = None


class MemorySqs:
    """Queues by address; `refuse` names operations that fail until it is emptied."""

    def __init__(self, clock: Clock, *, redrive: dict[str, str]) -> None:
        self._clock = clock
        # From the address of a queue to that of its dead-letter queue.
        self._redrive = redrive
        self.queues: dict[str, list[Held]] = {}
        self.refuse: set[str] = set()

    def messages(self, url: str) -> list[Held]:
        """Return what is on a queue, deliverable or not."""
        return self.queues.setdefault(url, [])

    def send_message(self, **call: Any) -> dict[str, Any]:
        """Put one message on a queue."""
        self._check("SendMessage")
        if _size(call) > MOST_BYTES:
            raise _refusal("InvalidParameterValue", f"Message must be shorter than {MOST_BYTES} bytes.", "SendMessage")
        return {"MessageId": self._put(call["QueueUrl"], call)}

    def send_message_batch(self, **call: Any) -> dict[str, Any]:
        """Put up to ten messages on a queue."""
        self._check("SendMessageBatch")
        if sum(map(_size, call["Entries"])) > MOST_BYTES:
            code = "AWS.SimpleQueueService.BatchRequestTooLong"
            raise _refusal(code, f"Batch requests cannot be longer than {MOST_BYTES} bytes.", "SendMessageBatch")
        for entry in call["Entries"]:
            self._put(call["QueueUrl"], entry)
        return {"Successful": [{"Id": entry["Id"]} for entry in call["Entries"]]}

    def receive_message(self, **call: Any) -> dict[str, Any]:
        """Take messages that are visible; the tenth time is the last, as the deployed queues have it."""
        self._check("ReceiveMessage")
        url, now_ms = call["QueueUrl"], self._clock.now_ms()
        taken: list[dict[str, Any]] = []
        for held in list(self.messages(url)):
            if held.visible_ms > now_ms or len(taken) == call.get("MaxNumberOfMessages", 1):
                continue
            if url in self._redrive and held.receives >= MOST_RECEIVES:
                self.messages(url).remove(held)
                self.messages(self._redrive[url]).append(held)
                continue
            held.receives += 1
            held.receipt = str(uuid.uuid4())
            held.visible_ms = now_ms + 1000 * call.get("VisibilityTimeout", VISIBILITY_SECONDS)
            taken.append(_describe(held))
        return {"Messages": taken} if taken else {}

    def delete_message(self, **call: Any) -> dict[str, Any]:
        """Acknowledge a message; with a receipt that another delivery has outdated, nothing happens."""
        self._check("DeleteMessage")
        self._take_off(call["QueueUrl"], call["ReceiptHandle"])
        return {}

    def delete_message_batch(self, **call: Any) -> dict[str, Any]:
        """Acknowledge messages."""
        self._check("DeleteMessageBatch")
        for entry in call["Entries"]:
            self._take_off(call["QueueUrl"], entry["ReceiptHandle"])
        return {}

    def change_message_visibility(self, **call: Any) -> dict[str, Any]:
        """Let a message come again after so many seconds from now."""
        self._check("ChangeMessageVisibility")
        self._hide(call["QueueUrl"], call)
        return {}

    def change_message_visibility_batch(self, **call: Any) -> dict[str, Any]:
        """Let messages come again after so many seconds from now."""
        self._check("ChangeMessageVisibilityBatch")
        for entry in call["Entries"]:
            self._hide(call["QueueUrl"], entry)
        return {}

    def _put(self, url: str, entry: dict[str, Any]) -> str:
        held = Held(
            body=entry["MessageBody"],
            attributes=entry.get("MessageAttributes", {}),
            sent_ms=self._clock.now_ms(),
            visible_ms=self._clock.now_ms() + 1000 * entry.get("DelaySeconds", 0),
        )
        self.messages(url).append(held)
        return held.message_id

    def _take_off(self, url: str, receipt: str) -> None:
        queue = self.messages(url)
        queue[:] = [held for held in queue if held.receipt != receipt]

    def _hide(self, url: str, entry: dict[str, Any]) -> None:
        for held in self.messages(url):
            if held.receipt == entry["ReceiptHandle"]:
                held.visible_ms = self._clock.now_ms() + 1000 * entry["VisibilityTimeout"]

    def _check(self, operation: str) -> None:
        if operation in self.refuse:
            raise _refusal("InternalError", "it is broken", operation)


class MemoryLambda:
    """Functions by name: when each was updated, and what each was asked asynchronously."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.updated_ms: dict[str, int] = {}
        self.invoked: list[tuple[str, Any]] = []

    def update_function_code(self, **call: Any) -> dict[str, Any]:
        """Replace a function's code."""
        self.updated_ms[call["FunctionName"]] = self._clock.now_ms()
        return {}

    def get_function_configuration(self, **call: Any) -> dict[str, Any]:
        """Say when a function was updated, as Lambda writes it."""
        self._check(call["FunctionName"], "GetFunctionConfiguration")
        moment = from_ms(self.updated_ms[call["FunctionName"]])
        return {"LastModified": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}+0000"}

    def invoke(self, **call: Any) -> dict[str, Any]:
        """Take an event for a function, to be handled later."""
        self._check(call["FunctionName"], "Invoke")
        self.invoked.append((call["FunctionName"], json.loads(call["Payload"])))
        return {"StatusCode": 202}

    def _check(self, name: str, operation: str) -> None:
        if name not in self.updated_ms:
            raise _refusal("ResourceNotFoundException", f"Function not found: {name}", operation)


def _refusal(code: str, message: str, operation: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


def _size(entry: dict[str, Any]) -> int:
    attributes = entry.get("MessageAttributes", {}).items()
    texts = (f"{name}{value['DataType']}{value['StringValue']}" for name, value in attributes)
    return sum(len(text.encode()) for text in (entry["MessageBody"], *texts))


def _describe(held: Held) -> dict[str, Any]:
    return {
        "MessageId": held.message_id,
        "ReceiptHandle": held.receipt,
        "Body": held.body,
        "Attributes": {"ApproximateReceiveCount": str(held.receives), "SentTimestamp": str(held.sent_ms)},
        "MessageAttributes": held.attributes,
    }


class MemorySes:
    """An outbox; `answers` are raised or returned, one a call, before it accepts again."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.answers: list[Exception] = []

    def send_email(self, **call: Any) -> dict[str, Any]:
        """Accept a mail."""
        if self.answers:
            raise self.answers.pop(0)
        self.sent.append(call)
        return {"MessageId": str(uuid.uuid4())}

    def send_bulk_email(self, **_call: Any) -> dict[str, Any]:
        """Refuse, so that each mail comes by itself."""
        refusal: Any = {"Error": {"Code": "NotImplemented"}, "ResponseMetadata": {"HTTPStatusCode": 501}}
        raise ClientError(refusal, "SendBulkEmail")


class MemoryS3:
    """Objects by key."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_object(self, **call: Any) -> dict[str, Any]:
        """Store an object."""
        self.objects[call["Key"]] = call["Body"]
        return {}

    def get_object(self, **call: Any) -> dict[str, Any]:
        """Return an object."""
        if call["Key"] not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "there is none"}}, "GetObject")
        content = self.objects[call["Key"]]
        return {"Body": io.BytesIO(content), "ContentLength": len(content)}

    def generate_presigned_url(self, _operation: str, *, Params: dict[str, str], ExpiresIn: int) -> str:  # noqa: N803
        """Return what looks like a link to an object."""
        return f"https://{Params['Bucket']}.s3.example/{Params['Key']}?expires={ExpiresIn}"
