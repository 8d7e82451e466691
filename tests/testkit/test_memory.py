"""SQS and S3 in memory answer as the emulator does, operation by operation, so that tests on them are no fiction."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError

from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import NOON
from nightshift.testkit.memory import MOST_BYTES, MOST_RECEIVES, VISIBILITY_SECONDS, MemoryS3, MemorySqs

QUEUE, DEAD = "https://sqs.example/work", "https://sqs.example/dead"
ATTRIBUTES = {"reason": {"DataType": "String", "StringValue": "no"}, "n": {"DataType": "Number", "StringValue": "1"}}


@dataclass
class Side:
    """One of the two that are compared, and what it received last of each body."""

    sqs: Any
    url: str
    dead_url: str
    receipts: dict[str, str] = field(default_factory=dict)

    def receive(self, *, limit: int = 1, seconds: int | None = None, url: str | None = None) -> list[Any]:
        """Return the body, number of deliveries and attributes of each message that comes."""
        options: dict[str, Any] = {"AttributeNames": ["All"], "MessageAttributeNames": ["All"], "WaitTimeSeconds": 0}
        if limit > 1:
            options["MaxNumberOfMessages"] = limit
        if seconds is not None:
            options["VisibilityTimeout"] = seconds
        answer = self.sqs.receive_message(QueueUrl=url or self.url, **options)
        messages = answer.get("Messages", [])
        self.receipts |= {message["Body"]: message["ReceiptHandle"] for message in messages}
        return [
            (
                message["Body"],
                message["Attributes"]["ApproximateReceiveCount"],
                {
                    name: (value["DataType"], value["StringValue"])
                    for name, value in message.get("MessageAttributes", {}).items()
                },
            )
            for message in messages
        ]

    def receive_dead(self) -> list[Any]:
        """Return the body and attributes of each message that comes from the dead-letter queue."""
        return [(body, attributes) for body, _, attributes in self.receive(limit=10, url=self.dead_url)]

    def send(self, body: str, **options: Any) -> None:
        assert self.sqs.send_message(QueueUrl=self.url, MessageBody=body, **options)["MessageId"]

    def send_batch(self, entries: list[tuple[str, int]]) -> list[str]:
        answer = self.sqs.send_message_batch(
            QueueUrl=self.url,
            Entries=[
                {"Id": str(n), "MessageBody": body, "DelaySeconds": delay} for n, (body, delay) in enumerate(entries)
            ],
        )
        assert not answer.get("Failed")
        return [entry["Id"] for entry in answer["Successful"]]

    def delete(self, body: str) -> None:
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=self.receipts[body])

    def delete_batch(self, bodies: list[str]) -> None:
        entries = [{"Id": str(n), "ReceiptHandle": self.receipts[body]} for n, body in enumerate(bodies)]
        assert not self.sqs.delete_message_batch(QueueUrl=self.url, Entries=entries).get("Failed")

    def hide(self, body: str, seconds: int) -> None:
        receipt = self.receipts[body]
        self.sqs.change_message_visibility(QueueUrl=self.url, ReceiptHandle=receipt, VisibilityTimeout=seconds)

    def hide_batch(self, bodies: list[str], seconds: int) -> None:
        entries = [
            {"Id": str(n), "ReceiptHandle": self.receipts[body], "VisibilityTimeout": seconds}
            for n, body in enumerate(bodies)
        ]
        assert not self.sqs.change_message_visibility_batch(QueueUrl=self.url, Entries=entries).get("Failed")


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(NOON)


@pytest.fixture
def memory(clock: FrozenClock) -> Side:
    return Side(MemorySqs(clock, redrive={QUEUE: DEAD}), QUEUE, DEAD)


class Both:
    """The two, of which each operation finds the same."""

    def __init__(self, *sides: Side) -> None:
        self._sides = sides

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def do(*arguments: Any, **options: Any) -> Any:
            found, other = (getattr(side, operation)(*arguments, **options) for side in self._sides)
            assert found == other
            return found

        return do


@pytest.fixture
def both(memory: Side, aws: LocalAws) -> Both:
    sqs = aws.client("sqs")
    dead_url = sqs.create_queue(QueueName="compared-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": MOST_RECEIVES})
    attributes = {"RedrivePolicy": policy, "VisibilityTimeout": str(VISIBILITY_SECONDS)}
    url = sqs.create_queue(QueueName="compared", Attributes=attributes)["QueueUrl"]
    return Both(memory, Side(sqs, url, dead_url))


def test_what_is_sent_comes_with_its_attributes_and_is_hidden_then(both: Both) -> None:
    both.send("one", MessageAttributes=ATTRIBUTES)
    both.send("two")
    attributes = {"reason": ("String", "no"), "n": ("Number", "1")}
    assert both.receive() == [("one", "1", attributes)]
    assert both.receive(limit=10) == [("two", "1", {})]
    assert both.receive(limit=10) == []


def test_a_delayed_message_does_not_come_yet(both: Both) -> None:
    both.send("delayed", DelaySeconds=900)
    assert both.send_batch([("now", 0), ("later", 900)]) == ["0", "1"]
    assert both.receive(limit=10) == [("now", "1", {})]


def test_a_message_that_is_let_go_comes_again_and_is_counted(both: Both) -> None:
    both.send("one")
    for count in ("1", "2", "3"):
        assert both.receive() == [("one", count, {})]
        assert both.receive() == []
        both.hide("one", 0)
    both.receive()
    both.hide("one", 3600)
    assert both.receive() == []
    both.hide_batch(["one"], 0)
    assert both.receive() == [("one", "5", {})]


def test_a_deleted_message_never_comes_again(both: Both) -> None:
    both.send_batch([(str(n), 0) for n in range(4)])
    both.receive(limit=10)
    both.delete("0")
    both.delete_batch(["1", "3"])
    both.hide("2", 0)
    assert both.receive(limit=10) == [("2", "2", {})]
    # To delete what is gone is no error.
    both.delete_batch(["0"])


def test_after_the_tenth_delivery_a_message_goes_to_the_dead_letter_queue(both: Both) -> None:
    both.send("one", MessageAttributes=ATTRIBUTES)
    counts = [both.receive(limit=10, seconds=0) for _ in range(MOST_RECEIVES + 2)]
    assert [len(messages) for messages in counts] == [1] * MOST_RECEIVES + [0, 0]
    ((body, attributes),) = both.receive_dead()
    assert (body, sorted(attributes)) == ("one", ["n", "reason"])


@pytest.mark.parametrize("seed", range(3))
def test_any_sequence_of_operations_finds_the_same(both: Both, seed: int) -> None:
    rng = random.Random(seed)
    in_work: set[str] = set()
    seen = 0
    for step in range(100):
        some = rng.sample(sorted(in_work), rng.randrange(min(len(in_work), 10) + 1))
        match rng.choice(["send", "batch", "receive", "receive", "delete", "hide"]):
            case "send":
                both.send(f"{step}", DelaySeconds=rng.choice([0, 0, 900]))
            case "batch":
                both.send_batch([(f"{step}.{n}", rng.choice([0, 0, 0, 900])) for n in range(rng.randrange(1, 11))])
            case "receive":
                seconds = rng.choice([None, 0, 600])
                found = both.receive(limit=rng.choice([1, 3, 10]), seconds=seconds)
                seen += len(found)
                received = {body for body, _, _ in found}
                in_work = in_work - received if seconds == 0 else in_work | received
            case "delete" if some:
                both.delete_batch(some)
                in_work -= set(some)
            case "hide" if some:
                seconds = rng.choice([0, 60])
                both.hide_batch(some, seconds)
                in_work -= set(some) if seconds == 0 else set()
    assert seen > 20


def test_time_that_passes_brings_back_what_was_hidden_and_what_was_delayed(memory: Side, clock: FrozenClock) -> None:
    # The emulator's own clock cannot be moved.
    memory.send("hidden")
    memory.send("delayed", DelaySeconds=60)
    assert memory.receive() == [("hidden", "1", {})]
    clock.advance(59.999)
    assert memory.receive(limit=10) == []
    clock.advance(0.001)
    assert memory.receive(limit=10) == [("delayed", "1", {})]
    clock.advance(VISIBILITY_SECONDS - 60)
    assert memory.receive(limit=10) == [("hidden", "2", {})]


def test_a_message_that_is_too_long_with_its_attributes_is_refused(memory: Side) -> None:
    # The emulator counts the body alone.
    beside = len("reason" + "String" + "no" + "n" + "Number" + "1")
    memory.send("ä" * ((MOST_BYTES - beside) // 2), MessageAttributes=ATTRIBUTES)
    with pytest.raises(ClientError, match=r"\(InvalidParameterValue\).*shorter than 262144 bytes"):
        memory.send("x" * (MOST_BYTES - beside + 1), MessageAttributes=ATTRIBUTES)
    assert len(memory.sqs.messages(QUEUE)) == 1


def test_a_batch_that_is_too_long_as_a_whole_is_refused(both: Both, memory: Side) -> None:
    half = "x" * (MOST_BYTES // 2)
    both.send_batch([(half, 0), (half, 0)])
    with pytest.raises(ClientError, match="BatchRequestTooLong"):
        memory.send_batch([(half, 0), (half + "x", 0)])
    assert len(memory.sqs.messages(QUEUE)) == 2


def test_a_receipt_that_a_later_delivery_has_outdated_does_nothing(memory: Side) -> None:
    # SQS promises no more: "the request succeeds, but the message might not be deleted".
    memory.send("one")
    memory.receive(seconds=0)
    outdated = memory.receipts["one"]
    memory.receive()
    memory.sqs.delete_message(QueueUrl=QUEUE, ReceiptHandle=outdated)
    memory.sqs.change_message_visibility(QueueUrl=QUEUE, ReceiptHandle=outdated, VisibilityTimeout=0)
    assert memory.receive() == []
    assert len(memory.sqs.messages(QUEUE)) == 1


CALLS: dict[str, Callable[[Side], Any]] = {
    "SendMessage": lambda side: side.send("x"),
    "SendMessageBatch": lambda side: side.send_batch([("x", 0)]),
    "ReceiveMessage": lambda side: side.receive(),
    "DeleteMessage": lambda side: side.delete("one"),
    "DeleteMessageBatch": lambda side: side.delete_batch(["one"]),
    "ChangeMessageVisibility": lambda side: side.hide("one", 0),
    "ChangeMessageVisibilityBatch": lambda side: side.hide_batch(["one"], 0),
}


@pytest.mark.parametrize("operation", CALLS)
def test_just_the_operation_that_is_to_fail_fails_and_changes_nothing(memory: Side, operation: str) -> None:
    memory.send("one")
    memory.receive()
    before = [dict(vars(held)) for held in memory.sqs.messages(QUEUE)]
    memory.sqs.refuse = {operation}
    with pytest.raises(ClientError, match=rf"\(InternalError\) when calling the {operation} operation"):
        CALLS[operation](memory)
    assert [dict(vars(held)) for held in memory.sqs.messages(QUEUE)] == before
    for other, call in CALLS.items():
        if other != operation:
            call(memory)


def test_objects_are_kept_and_missed_as_the_emulators_are(aws: LocalAws) -> None:
    for s3 in (MemoryS3(), aws.client("s3")):
        s3.put_object(Bucket=BUCKET, Key="payloads/1", Body=b"\x00one", ContentType="application/json")
        answer = s3.get_object(Bucket=BUCKET, Key="payloads/1")
        assert (answer["ContentLength"], answer["Body"].read()) == (4, b"\x00one")
        answer["Body"].close()
        with pytest.raises(ClientError) as caught:
            s3.get_object(Bucket=BUCKET, Key="payloads/2")
        assert caught.value.response["Error"]["Code"] == "NoSuchKey"
