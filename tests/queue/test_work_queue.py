"""The SQS queues: sending in batches, sending again what was refused, and burying."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from chalicelib.errors import InvalidRequestError, PermanentError, TransientError
from chalicelib.queue.message import Message, encode
from chalicelib.queue.work_queue import WorkQueue
from nightshift.testkit.clock import FrozenClock

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

WORK, DEAD = "https://sqs.example.com/1/work", "https://sqs.example.com/1/dead"
MESSAGES = [Message(type="send_digest", data={"n": n}) for n in range(23)]
# What SQS takes in a text: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
ALLOWED = re.compile("[\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")


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
def queue(sqs: SQSClient, clock: FrozenClock) -> WorkQueue:
    return WorkQueue(sqs, url=WORK, dead_letter_url=DEAD, clock=clock)


def expect_send(stub: Stubber, entries: Sequence[tuple[int, Message]], *, refused: Sequence[int] = ()) -> None:
    """Expect these messages under these numbers, and refuse some of the numbers."""
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
        {"QueueUrl": WORK, "Entries": [{"Id": str(n), "MessageBody": encode(message)} for n, message in entries]},
    )


def numbered(messages: Sequence[Message]) -> list[tuple[int, Message]]:
    return list(enumerate(messages))


def buried(queue: WorkQueue, sqs: SQSClient, stub: Stubber, error: Exception | None) -> dict[str, Any]:
    """Return what SQS is asked for when a message is buried because of this error."""
    asked: list[dict[str, Any]] = []

    def record(params: dict[str, Any], **_: object) -> None:
        asked.append(params)

    sqs.meta.events.register("provide-client-params.sqs.SendMessage", record)
    stub.add_response("send_message", {"MessageId": "m"})
    queue.bury('{"type":"a","data":{}}', error=error)
    (params,) = asked
    return params


@pytest.mark.parametrize(("count", "batches"), [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (23, [10, 10, 3])])
def test_messages_are_sent_ten_a_call_in_order(
    queue: WorkQueue, stub: Stubber, clock: FrozenClock, count: int, batches: list[int]
) -> None:
    start = 0
    for size in batches:
        expect_send(stub, numbered(MESSAGES[start : start + size]))
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
    expect_send(stub, numbered(MESSAGES[10:20]))
    expect_send(stub, numbered(MESSAGES[20:]))
    with pytest.raises(TransientError, match="the work queue refused 1 messages"):
        queue.send(MESSAGES)


@pytest.mark.parametrize(
    ("code", "status"),
    [("AWS.SimpleQueueService.NonExistentQueue", 400), ("AccessDenied", 403), ("InternalError", 500)],
)
def test_a_queue_that_takes_nothing_is_to_be_tried_later(
    queue: WorkQueue, stub: Stubber, clock: FrozenClock, code: str, status: int
) -> None:
    stub.add_client_error("send_message_batch", code, "no", status)
    with pytest.raises(TransientError, match="the work queue does not take messages"):
        queue.send(MESSAGES[:1])
    assert clock.slept == []


@pytest.mark.usefixtures("sqs")
def test_a_queue_that_cannot_be_reached_is_to_be_tried_later(clock: FrozenClock) -> None:
    # Bound and not listening: nobody else can take the port, and it refuses connections.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        queue = WorkQueue(connect(url), url=f"{url}/1/work", dead_letter_url=DEAD, clock=clock)
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


def test_a_buried_message_keeps_its_body_and_has_its_reason_as_attributes(
    queue: WorkQueue, sqs: SQSClient, stub: Stubber
) -> None:
    assert buried(queue, sqs, stub, PermanentError("no digest of 2016-08-03 has been composed")) == {
        "QueueUrl": DEAD,
        "MessageBody": '{"type":"a","data":{}}',
        "MessageAttributes": {
            "error_type": {"DataType": "String", "StringValue": "PermanentError"},
            "reason": {"DataType": "String", "StringValue": "no digest of 2016-08-03 has been composed"},
        },
    }


@pytest.mark.parametrize(
    "error",
    [
        None,
        InvalidRequestError(""),
        InvalidRequestError(" "),
        InvalidRequestError("x" * 1_000_000),
        InvalidRequestError("🐙" * 1_000_000),
        InvalidRequestError("one\ntwo\tthree\r\n"),
        InvalidRequestError("unknown field `\x00`"),
        InvalidRequestError("\x00"),
        InvalidRequestError("\x1b[31mred\x7f\x0b\x0c"),
        InvalidRequestError("\ufffe\uffff"),
        InvalidRequestError("\ud800"),
        KeyError(),
    ],
    ids=lambda error: ascii(error)[:40],
)
def test_every_reason_is_an_attribute_that_sqs_takes(
    queue: WorkQueue, sqs: SQSClient, stub: Stubber, error: Exception | None
) -> None:
    attributes = buried(queue, sqs, stub, error)["MessageAttributes"]
    assert sorted(attributes) == ["error_type", "reason"]
    for attribute in attributes.values():
        assert attribute["DataType"] == "String"
        assert ALLOWED.fullmatch(attribute["StringValue"])
        assert len(attribute["StringValue"].encode()) <= 4096


def test_a_dead_letter_queue_that_takes_nothing_says_so(queue: WorkQueue, stub: Stubber) -> None:
    stub.add_client_error("send_message", "AccessDenied", "no", 403)
    with pytest.raises((TransientError, ClientError), match="no"):
        queue.bury("{}", error=None)
