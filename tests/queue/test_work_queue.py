"""The work queues: sending in batches, sending again what was refused, acknowledging and putting off."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from chalicelib.core.errors import InvalidRequestError, TransientError
from chalicelib.queue.message import Message, encode
from chalicelib.queue.payloads import LIMIT, Payloads
from chalicelib.queue.sqs import WorkQueue
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.memory import MemoryS3

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

WORK = "https://sqs.example.com/1/work"
MESSAGES = [Message(type="send_digest", data={"n": n}) for n in range(23)]


def connect(url: str | None = None) -> SQSClient:
    return boto3.client(
        "sqs",
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        endpoint_url=url,
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(datetime(2016, 8, 4, 8, 0, tzinfo=UTC))


@pytest.fixture
def sqs(monkeypatch: pytest.MonkeyPatch) -> SQSClient:
    # Nothing of the user's own AWS set-up gets in.
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    return connect()


@pytest.fixture
def stub(sqs: SQSClient) -> Iterator[Stubber]:
    with Stubber(sqs) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def s3() -> MemoryS3:
    return MemoryS3()


@pytest.fixture
def payloads(s3: MemoryS3) -> Payloads:
    client: Any = s3
    return Payloads(lambda: client, bucket="bodies")


@pytest.fixture
def queue(sqs: SQSClient, payloads: Payloads, clock: FrozenClock) -> WorkQueue:
    return WorkQueue(sqs, url=WORK, payloads=payloads, clock=clock)


def expect_send(
    stub: Stubber, entries: Sequence[tuple[int, Message]], *, refused: Sequence[int] = (), delay: int = 0
) -> None:
    """Expect these messages under these numbers with a delay, and refuse some of the numbers."""
    stub.add_response(
        "send_message_batch",
        {
            "Successful": [
                {"Id": str(n), "MessageId": f"m{n}", "MD5OfMessageBody": "d41d8cd98f00b204e9800998ecf8427e"}
                for n, _ in entries
                if n not in refused
            ],
            "Failed": [
                {"Id": str(n), "SenderFault": False, "Code": "InternalError", "Message": f"no room for {n}"}
                for n in refused
            ],
        },
        {
            "QueueUrl": WORK,
            "Entries": [
                {"Id": str(n), "MessageBody": encode(message), "DelaySeconds": delay} for n, message in entries
            ],
        },
    )


def numbered(messages: Sequence[Message], *, start: int = 0) -> list[tuple[int, Message]]:
    return list(enumerate(messages, start))


@pytest.mark.parametrize(("count", "batches"), [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (23, [10, 10, 3])])
def test_messages_are_sent_ten_a_call_in_order(
    queue: WorkQueue, stub: Stubber, clock: FrozenClock, count: int, batches: list[int]
) -> None:
    start = 0
    for size in batches:
        expect_send(stub, numbered(MESSAGES[start : start + size], start=start))
        start += size
    queue.send(MESSAGES[:count])
    assert clock.slept == []


def test_only_the_entries_that_sqs_refuses_are_sent_again_after_a_pause(
    queue: WorkQueue, stub: Stubber, clock: FrozenClock
) -> None:
    all_of_them = numbered(MESSAGES[:10])
    expect_send(stub, all_of_them, refused=[2, 7, 9])
    expect_send(stub, [all_of_them[2], all_of_them[7], all_of_them[9]], refused=[7])
    expect_send(stub, [all_of_them[7]])
    queue.send(MESSAGES[:10])
    assert clock.slept == [0.2, 0.4]


def test_an_entry_that_is_refused_four_times_is_given_up_for_now(
    queue: WorkQueue, stub: Stubber, clock: FrozenClock
) -> None:
    expect_send(stub, numbered(MESSAGES[:3]), refused=[1])
    for _ in range(3):
        expect_send(stub, [(1, MESSAGES[1])], refused=[1])
    with pytest.raises(TransientError, match=r"\Athe work queue refused 1 messages: no room for 1\Z"):
        queue.send(MESSAGES[:3])
    assert clock.slept == [0.2, 0.4, 0.8]


def test_a_refusal_without_a_message_is_given_up_for_now_too(queue: WorkQueue, stub: Stubber) -> None:
    for _ in range(4):
        failed = [{"Id": "0", "SenderFault": False, "Code": "InternalError"}]
        stub.add_response("send_message_batch", {"Successful": [], "Failed": failed})
    with pytest.raises(TransientError, match="the work queue refused 1 messages"):
        queue.send(MESSAGES[:1])


def test_the_messages_behind_a_refused_one_are_on_the_queue_all_the_same(queue: WorkQueue, stub: Stubber) -> None:
    expect_send(stub, numbered(MESSAGES[:10]), refused=[1])
    for _ in range(3):
        expect_send(stub, [(1, MESSAGES[1])], refused=[1])
    expect_send(stub, numbered(MESSAGES[10:20], start=10))
    expect_send(stub, numbered(MESSAGES[20:], start=20))
    with pytest.raises(TransientError, match="the work queue refused 1 messages"):
        queue.send(MESSAGES)


@pytest.mark.parametrize(
    ("code", "status"),
    [("AWS.SimpleQueueService.NonExistentQueue", 400), ("AccessDenied", 403), ("InternalError", 500)],
)
def test_queue_that_refuses_everything_raises_transient_error(
    queue: WorkQueue, stub: Stubber, clock: FrozenClock, code: str, status: int
) -> None:
    stub.add_client_error("send_message_batch", code, "no", status)
    with pytest.raises(TransientError, match="the work queue does not take messages"):
        queue.send(MESSAGES[:1])
    assert clock.slept == []


@pytest.mark.usefixtures("sqs")
def test_a_queue_that_cannot_be_reached_is_to_be_tried_later(payloads: Payloads, clock: FrozenClock) -> None:
    # Bound and not listening: nobody else can take the port, and it refuses connections.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        queue = WorkQueue(connect(url), url=f"{url}/1/work", payloads=payloads, clock=clock)
        with pytest.raises(TransientError, match="the work queue does not take messages"):
            queue.send(MESSAGES[:1])


@pytest.mark.parametrize(("count", "batches"), [(0, []), (10, [10]), (12, [10, 2])])
def test_messages_are_acknowledged_ten_a_call(queue: WorkQueue, stub: Stubber, count: int, batches: list[int]) -> None:
    handles = [f"handle-{n}" for n in range(count)]
    start = 0
    for size in batches:
        entries = [{"Id": str(n), "ReceiptHandle": handles[start + n]} for n in range(size)]
        done = {"Successful": [{"Id": str(n)} for n in range(size)], "Failed": []}
        stub.add_response("delete_message_batch", done, {"QueueUrl": WORK, "Entries": entries})
        start += size
    queue.delete(handles)


@pytest.mark.parametrize(("count", "batches"), [(0, []), (10, [10]), (12, [10, 2])])
def test_visibility_is_changed_ten_messages_a_call(
    queue: WorkQueue, stub: Stubber, count: int, batches: list[int]
) -> None:
    seconds = [(f"handle-{n}", 60 * n) for n in range(count)]
    start = 0
    for size in batches:
        entries = [
            {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": delay}
            for n, (handle, delay) in enumerate(seconds[start : start + size])
        ]
        done = {"Successful": [{"Id": str(n)} for n in range(size)], "Failed": []}
        stub.add_response("change_message_visibility_batch", done, {"QueueUrl": WORK, "Entries": entries})
        start += size
    queue.retry_later(seconds)


def test_acknowledging_and_retrying_later_raise_when_sqs_does_not_answer(queue: WorkQueue, stub: Stubber) -> None:
    stub.add_client_error("delete_message_batch", "InternalError", "no", 500)
    with pytest.raises(TransientError, match=r"\Afinished messages could not be deleted: .*no"):
        queue.delete(["handle"])
    stub.add_client_error("change_message_visibility_batch", "InternalError", "no", 500)
    with pytest.raises(TransientError, match=r"\Athe visibility of messages could not be changed: .*no"):
        queue.retry_later([("handle", 60)])


@pytest.mark.parametrize(
    ("milliseconds", "seconds"), [(-5000, 0), (0, 0), (1, 1), (1000, 1), (1001, 2), (900_000, 900), (10**9, 900)]
)
def test_a_delay_is_rounded_up_to_seconds_and_no_longer_than_sqs_lets_it_be(
    queue: WorkQueue, stub: Stubber, milliseconds: int, seconds: int
) -> None:
    expect_send(stub, numbered(MESSAGES[:1]), delay=seconds)
    queue.send(MESSAGES[:1], delays_ms=[milliseconds])


def test_a_call_is_no_longer_than_a_single_message_may_be(queue: WorkQueue, stub: Stubber) -> None:
    # Three of them fit into one call, and four do not.
    long = [Message(type="a", data={"text": "x" * (LIMIT // 3 - 100)}) for _ in range(7)]
    all_of_them = numbered(long)
    for start in (0, 3, 6):
        expect_send(stub, all_of_them[start : start + 3])
    queue.send(long)


def test_a_message_that_is_too_long_for_sqs_goes_through_s3(
    queue: WorkQueue, s3: MemoryS3, payloads: Payloads, stub: Stubber
) -> None:
    long = Message(type="a", data={"text": "x" * LIMIT})
    stub.add_response("send_message_batch", {"Successful": [], "Failed": []})
    queue.send([long])
    ((key, content),) = s3.objects.items()
    assert content.decode() == encode(long)
    pointer = json.dumps(
        ["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "bodies", "s3Key": key}]
    )
    assert payloads.fetch(pointer) == encode(long)


def test_invalid_message_is_refused_before_any_is_sent(queue: WorkQueue, stub: Stubber, s3: MemoryS3) -> None:
    wrong = Message(type="a", data={"n": float("nan")})
    with pytest.raises(InvalidRequestError, match="the message is not valid: "):
        queue.send([*MESSAGES[:3], wrong])
    # The stub expected no call, and would have raised for one.
    assert s3.objects == {}


def test_a_queue_is_described_in_numbers(queue: WorkQueue, stub: Stubber) -> None:
    attributes = {
        "ApproximateNumberOfMessages": "3",
        "ApproximateNumberOfMessagesDelayed": "2",
        "ApproximateNumberOfMessagesNotVisible": "1",
        "VisibilityTimeout": "1800",
    }
    stub.add_response("get_queue_attributes", {"Attributes": attributes}, {"QueueUrl": WORK, "AttributeNames": ["All"]})
    assert queue.describe() == {"waiting": 3, "delayed": 2, "in_work": 1, "visibility_seconds": 1800}
