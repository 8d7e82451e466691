"""The dead-letter queue: what is buried keeps its body and has its reason, and can be looked at and taken off."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from chalicelib.core.errors import InvalidRequestError, PermanentError, TransientError
from chalicelib.queue.payloads import CLASSES, LIMIT, MAX_BYTES, Payloads
from chalicelib.queue.services import payloads
from chalicelib.queue.sqs import DeadLetter, DeadLetters
from nightshift.local.aws import LocalAws
from nightshift.local.environment import ACCOUNT, DEAD_LETTER_QUEUE
from nightshift.testkit.kit import DEAD, WORK, Kit
from nightshift.testkit.memory import MemoryS3
from tests.queue.samples import fail, statuses

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient

# What SQS takes in a text: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
ALLOWED = re.compile("[\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
BODY = '{"type":"a","data":{}}'


@pytest.fixture
def s3() -> MemoryS3:
    return MemoryS3()


@pytest.fixture
def url(aws: LocalAws) -> str:
    return f"{aws.endpoint}/{ACCOUNT}/{DEAD_LETTER_QUEUE}"


def dead_letters(sqs: SQSClient, url: str, s3: MemoryS3) -> DeadLetters:
    client: Any = s3
    return DeadLetters(sqs, url=url, payloads=Payloads(lambda: client, bucket="bodies"))


@pytest.fixture
def letters(aws: LocalAws, url: str, s3: MemoryS3) -> DeadLetters:
    return dead_letters(aws.client("sqs"), url, s3)


class Recorder:
    """An SQS that notes what it is asked to send."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def send_message(self, **call: Any) -> dict[str, Any]:
        self.asked.append(call)
        return {"MessageId": "m"}


def buried(error: Exception | None, *, body: str = BODY) -> dict[str, Any]:
    """Return what SQS is asked for when a message is buried because of this error."""
    recorder: Any = Recorder()
    dead_letters(recorder, "https://sqs.example.com/1/dead", MemoryS3()).send(body, job_id="j1", error=error)
    (asked,) = recorder.asked
    return dict(asked)


def size_of(asked: dict[str, Any]) -> int:
    """Return the bytes that SQS counts."""
    texts = [asked["MessageBody"]]
    for name, attribute in asked["MessageAttributes"].items():
        texts += [name, attribute["DataType"], attribute["StringValue"]]
    return len("".join(texts).encode())


def test_dead_letter_keeps_body_and_has_job_and_reason_as_attributes() -> None:
    assert buried(PermanentError("no digest of 2016-08-03 has been composed")) == {
        "QueueUrl": "https://sqs.example.com/1/dead",
        "MessageBody": BODY,
        "MessageAttributes": {
            "job_id": {"DataType": "String", "StringValue": "j1"},
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
def test_every_reason_is_a_valid_sqs_attribute(error: Exception | None) -> None:
    attributes = buried(error)["MessageAttributes"]
    assert sorted(attributes) == ["error_type", "job_id", "reason"]
    for attribute in attributes.values():
        assert attribute["DataType"] == "String"
        assert ALLOWED.fullmatch(attribute["StringValue"])
        assert len(attribute["StringValue"].encode()) <= 4096


@pytest.mark.parametrize("character", ["x", "ä"])
def test_a_body_that_is_too_long_for_sqs_goes_through_s3(letters: DeadLetters, s3: MemoryS3, character: str) -> None:
    body = json.dumps(
        {"type": "a", "data": {"text": character * (LIMIT // len(character.encode()))}}, ensure_ascii=False
    )
    letters.send(body, job_id="j1", error=PermanentError("no"))
    ((key, content),) = s3.objects.items()
    assert content.decode() == body
    (letter,) = letters.receive()
    assert key in letter.body
    assert len(letter.body) < 200


@pytest.mark.parametrize("reason", ["no", "x" * 1000, "🐙" * 1000], ids=["short", "long", "of many bytes"])
def test_only_a_body_too_long_with_its_reason_goes_through_s3(reason: str) -> None:
    error = PermanentError(reason)
    body = "x" * (LIMIT - size_of(buried(error, body="")))
    assert buried(error, body=body)["MessageBody"] == body
    assert CLASSES[0] in buried(error, body=body + "x")["MessageBody"]


def test_a_job_whose_message_is_too_long_only_with_its_reason_is_dead_at_once_and_comes_back_whole(kit: Kit) -> None:
    begun = fail(kit, PermanentError("no"))
    text = "x" * (LIMIT - 100)
    job_id = kit.send({"type": "note", "data": {"text": text}})
    kit.drain()
    assert statuses(kit) == {job_id: "dead"}
    (letter,) = kit.sqs.messages(DEAD)
    kit.sqs.send_message(QueueUrl=WORK, MessageBody=letter.body, MessageAttributes=letter.attributes)
    kit.drain()
    assert [(job.id, job.payload.text) for job in begun] == [(job_id, text)] * 2


def test_what_cannot_be_read_and_is_too_long_only_with_its_reason_is_dead_at_once(kit: Kit) -> None:
    body = "[" * LIMIT
    job_id = kit.send(body)
    kit.drain()
    assert statuses(kit) == {job_id: "dead"}
    (letter,) = kit.sqs.messages(DEAD)
    assert payloads(kit.context()).fetch(letter.body) == body


def test_a_body_that_no_worker_would_read_back_is_refused(letters: DeadLetters) -> None:
    with pytest.raises(InvalidRequestError, match=f"{MAX_BYTES} are allowed"):
        letters.send("x" * (MAX_BYTES + 1), job_id="j1", error=None)
    assert letters.count() == 0


def test_a_dead_letter_queue_that_takes_nothing_says_so(s3: MemoryS3) -> None:
    class Closed:
        def send_message(self, **call: Any) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not for you"}}, "SendMessage")

    closed: Any = Closed()
    with pytest.raises(TransientError, match=r"\Athe dead-letter queue does not take messages: .*not for you"):
        dead_letters(closed, "https://sqs.example.com/1/dead", s3).send(BODY, job_id="j1", error=None)


def test_one_that_cannot_be_reached_says_so_too(url: str, s3: MemoryS3) -> None:
    nowhere = boto3.client(
        "sqs",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:0",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(TransientError, match="the dead-letter queue does not take messages"):
        dead_letters(nowhere, url, s3).send(BODY, job_id="j1", error=None)


def test_each_letter_is_received_once(letters: DeadLetters) -> None:
    for n in range(23):
        letters.send(BODY, job_id=f"j{n}", error=PermanentError(f"reason {n}"))
    found = list(letters.receive())
    assert {(letter.job_id, letter.reason, letter.body) for letter in found} == {
        (f"j{n}", f"reason {n}", BODY) for n in range(23)
    }
    assert len(found) == 23
    # They are hidden now, and one that is released is not.
    assert list(letters.receive()) == []
    letters.release(found[7])
    assert [letter.job_id for letter in letters.receive()] == [found[7].job_id]


def test_a_letter_that_sqs_moved_there_itself_says_neither_job_nor_reason(
    letters: DeadLetters, aws: LocalAws, url: str
) -> None:
    aws.client("sqs").send_message(QueueUrl=url, MessageBody=BODY)
    (letter,) = letters.receive()
    assert letter == DeadLetter(
        message_id=letter.message_id, receipt_handle=letter.receipt_handle, body=BODY, job_id=None, reason=None
    )


@pytest.mark.parametrize("missing", ["job_id", "error_type", "reason"])
def test_letter_with_only_some_of_our_attributes_is_not_ours(
    letters: DeadLetters, aws: LocalAws, url: str, missing: str
) -> None:
    attributes = buried(PermanentError("no"))["MessageAttributes"]
    del attributes[missing]
    aws.client("sqs").send_message(QueueUrl=url, MessageBody=BODY, MessageAttributes=attributes)
    (letter,) = letters.receive()
    assert (letter.job_id, letter.reason) == (None, None)


def test_producers_own_attributes_do_not_reopen_a_dead_job(kit: Kit) -> None:
    begun = fail(kit, PermanentError("no"))
    message = {"type": "note", "data": {}, "id": "one"}
    kit.send(message)
    kit.drain()
    kit.clock.advance(1)
    theirs = {"reason": {"DataType": "String", "StringValue": "urgent"}}
    kit.sqs.send_message(QueueUrl=WORK, MessageBody=json.dumps(message), MessageAttributes=theirs)
    kit.drain()
    assert (statuses(kit), len(begun)) == ({"one": "dead"}, 1)


def test_a_deleted_letter_is_gone(letters: DeadLetters) -> None:
    for n in range(2):
        letters.send(BODY, job_id=f"j{n}", error=None)
    assert letters.count() == 2
    first, second = letters.receive()
    letters.delete(first)
    letters.release(second)
    assert [letter.job_id for letter in letters.receive()] == [second.job_id]
