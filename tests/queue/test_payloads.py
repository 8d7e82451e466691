"""Bodies in S3: what a pointer brings back, which pointers are not followed, and how reading can fail."""

import io
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Thread
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.response import StreamingBody
from botocore.stub import Stubber

from chalicelib.core.errors import InvalidRequestError, PermanentError, TransientError
from chalicelib.queue.payloads import CLASSES, LIMIT, MAX_BYTES, Payloads
from nightshift.local.aws import LocalAws

BUCKET = "our-payloads"


@cache
def connect(url: str | None = None) -> Any:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    config = Config(connect_timeout=5, read_timeout=5, retries={"total_max_attempts": 1})
    return session.client("s3", endpoint_url=url, config=config)


@pytest.fixture
def s3(aws: LocalAws) -> Any:
    """The emulator's S3, with an empty bucket of ours."""
    client = aws.client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
def stub() -> Iterator[Stubber]:
    with Stubber(connect()) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def stubbed(stub: Stubber) -> Payloads:
    """Payloads of a bucket that answers what `stub` says, and fails any other call as if S3 could not be reached."""
    return Payloads(lambda: connect(), bucket=BUCKET)


def pointer(*, key: str = "payloads/7", bucket: str = BUCKET, class_: str = CLASSES[0]) -> str:
    return json.dumps([class_, {"s3BucketName": bucket, "s3Key": key}], separators=(",", ":"))


class Stream(io.BytesIO):
    """A body on its way, and how much of it was asked for."""

    asked: int | None = 0

    def read(self, amount: int | None = None, /) -> bytes:
        self.asked = amount
        return super().read(amount)


@pytest.mark.parametrize(
    "body", ['{"type":"a","data":{}}', '"ä🙂\u2028"' * 100_000, "", "\x00"], ids=lambda body: body[:5]
)
def test_a_stored_body_comes_back_as_it_was(s3: Any, body: str) -> None:
    payloads = Payloads(lambda: s3, bucket=BUCKET)
    stored = payloads.store(body)
    assert len(stored.encode()) < LIMIT
    assert payloads.fetch(stored) == body


def test_a_pointer_is_what_the_extended_clients_write(s3: Any) -> None:
    payloads = Payloads(lambda: s3, bucket=BUCKET)
    pointers = [payloads.store("{}"), payloads.store("{}")]
    keys = [stored["Key"] for stored in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert len(keys) == 2
    assert all(
        re.fullmatch("payloads/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", key) for key in keys
    )
    wanted = '["software.amazon.payloadoffloading.PayloadS3Pointer",{{"s3BucketName":"our-payloads","s3Key":"{}"}}]'
    assert sorted(pointers) == sorted(wanted.format(key) for key in keys)


@pytest.mark.parametrize("class_", CLASSES)
@pytest.mark.parametrize("indent", [None, 2])
def test_what_the_extended_clients_stored_is_fetched(s3: Any, class_: str, indent: int | None) -> None:
    for key in ("payloads/7", "payloads/shop.orders/2016-08-04/a_B.json"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"body of " + key.encode())
        place = {"s3Key": key, "s3BucketName": BUCKET, "size": 1}
        body = " \n" + json.dumps([class_, place], indent=indent)
        assert Payloads(lambda: s3, bucket=BUCKET).fetch(body) == f"body of {key}"


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[",
        "nonsense",
        "[]",
        '["a",{}]',
        '{"type":"a","data":{}}',
        '{"a":' + pointer() + "}",
        json.dumps(pointer()),
        pointer(class_="com.example.Pointer"),
        pointer(class_=CLASSES[0] + "2"),
        pointer(class_="x" + CLASSES[0]),
        pointer(class_=CLASSES[0].replace(".", "x")),
        " " * 1_000_000,
    ],
    ids=lambda body: body[:10],
)
def test_body_that_is_not_a_pointer_is_unchanged(stubbed: Payloads, body: str) -> None:
    assert stubbed.fetch(body) is body


def test_a_pointer_to_another_bucket_is_never_followed(stubbed: Payloads) -> None:
    for bucket in ("", "other", BUCKET.upper(), f"{BUCKET} ", f"{BUCKET}/payloads", f"arn:aws:s3:::{BUCKET}"):
        with pytest.raises(InvalidRequestError, match="another bucket; put payloads into our-payloads"):
            stubbed.fetch(pointer(bucket=bucket))


@pytest.mark.parametrize(
    "key",
    [
        *("", "payloads", "payloads/", "7", "/payloads/7", "Payloads/7", "reports/7", "payloads2/7", "x/payloads/7"),
        *("payloads//7", "payloads/7/", "payloads/.", "payloads/..", "payloads/../reports/7", "payloads/a/../../7"),
        *("payloads/a\\..\\7", "payloads/%2e%2e/7", "payloads/a b", "payloads/7\n", "payloads/7\x00", "payloads/ä"),
        *("payloads/7?versionId=1", "payloads/" + "a" * 1016),
    ],
    ids=repr,
)
def test_a_key_outside_payloads_is_never_read(stubbed: Payloads, key: str) -> None:
    with pytest.raises(InvalidRequestError, match="not a plain name below payloads/"):
        stubbed.fetch(pointer(key=key))


@pytest.mark.parametrize(
    "rest",
    [
        *("", ",", "]", ",{}", ",{}]", ",null]", ',"payloads/7"]', ",[]]", ',{"s3Key":"payloads/7"}]'),
        *(',{"s3BucketName":"our-payloads"}]', ',{"s3BucketName":"our-payloads","s3Key":null}]'),
        *(',{"s3BucketName":["our-payloads"],"s3Key":"payloads/7"}]', ',{"s3bucketname":"our-payloads","s3key":"a"}]'),
        *(pointer()[len(CLASSES[0]) + 3 : -1] + end for end in ("", ",1]", "]]", ',"x":1}]', "] x")),
        *(
            ',{"s3BucketName":"our-payloads","s3Key":"\\ud800 and more"}]',
            ',{"s3BucketName":"our-payloads","s3Key":"\ud800"}]',
        ),
        ',{"x":' + "[" * 100_000,
    ],
    ids=lambda rest: ascii(rest)[:40],
)
def test_a_malformed_pointer_is_refused(stubbed: Payloads, rest: str) -> None:
    with pytest.raises(InvalidRequestError, match="the pointer to a payload is not valid") as caught:
        stubbed.fetch(f'["{CLASSES[0]}"{rest}')
    assert len(str(caught.value)) < 300


def test_a_missing_object_is_final(s3: Any, stub: Stubber, stubbed: Payloads) -> None:
    stub.add_client_error("get_object", "404", http_status_code=404)
    for payloads in (Payloads(lambda: s3, bucket=BUCKET), stubbed):
        with pytest.raises(PermanentError, match="payloads/7 does not exist"):
            payloads.fetch(pointer())


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchBucket", "SlowDown", "InternalError", "ExpiredToken"])
def test_other_s3_errors_are_transient(stub: Stubber, stubbed: Payloads, code: str) -> None:
    stub.add_client_error("get_object", code)
    with pytest.raises(TransientError, match=f"payloads/7 cannot be read: .*{code}"):
        stubbed.fetch(pointer())
    stub.add_client_error("put_object", code)
    with pytest.raises(TransientError, match=f"S3 does not take the payload .*{code}"):
        stubbed.store("{}")


def test_missing_bucket_is_transient_error(aws: LocalAws) -> None:
    payloads = Payloads(lambda: aws.client("s3"), bucket="nowhere")
    with pytest.raises(TransientError, match="NoSuchBucket"):
        payloads.store("{}")
    with pytest.raises(TransientError, match="NoSuchBucket"):
        payloads.fetch(pointer(bucket="nowhere"))


def test_unreachable_s3_is_transient_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    payloads = Payloads(lambda: connect(url), bucket=BUCKET)
    with pytest.raises(TransientError, match="cannot be read"):
        payloads.fetch(pointer())
    with pytest.raises(TransientError, match="does not take"):
        payloads.store("{}")


@contextmanager
def server(answer: bytes) -> Iterator[str]:
    """Answer one request with these bytes and hang up; give the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_an_object_that_breaks_off_is_read_again_later() -> None:
    with server(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"type":"a","data":{}}') as url:
        payloads = Payloads(lambda: connect(url), bucket=BUCKET)
        with pytest.raises(TransientError, match=r"payloads/7 (cannot be read|broke off)"):
            payloads.fetch(pointer())


def test_an_object_that_ends_early_without_an_error_is_read_again_later(stub: Stubber, stubbed: Payloads) -> None:
    stream = Stream(b'{"type":"a"}')
    stub.add_response("get_object", {"ContentLength": 13, "Body": StreamingBody(stream, 13)})
    with pytest.raises(TransientError, match="broke off after 12 of 13 bytes"):
        stubbed.fetch(pointer())
    assert stream.closed


def test_an_object_that_is_too_long_is_refused_before_it_is_read(stub: Stubber, stubbed: Payloads) -> None:
    stream = Stream()
    stub.add_response("get_object", {"ContentLength": MAX_BYTES + 1, "Body": StreamingBody(stream, MAX_BYTES + 1)})
    with pytest.raises(InvalidRequestError, match=f"longer than the {MAX_BYTES} bytes allowed"):
        stubbed.fetch(pointer())
    assert stream.asked == 0
    assert stream.closed


def test_an_object_that_is_longer_than_announced_is_read_no_further(stub: Stubber, stubbed: Payloads) -> None:
    stream = Stream(b"x" * (MAX_BYTES + 1000))
    stub.add_response("get_object", {"ContentLength": 10, "Body": StreamingBody(stream, 10)})
    with pytest.raises(InvalidRequestError, match=f"longer than the {MAX_BYTES} bytes allowed"):
        stubbed.fetch(pointer())
    assert stream.asked == MAX_BYTES + 1


def test_the_longest_body_is_stored_and_fetched_and_one_longer_is_not(s3: Any) -> None:
    payloads = Payloads(lambda: s3, bucket=BUCKET)
    longest = "ä" * (MAX_BYTES // 2)
    assert payloads.fetch(payloads.store(longest)) == longest
    with pytest.raises(InvalidRequestError, match=f"{MAX_BYTES + 1} bytes, and {MAX_BYTES} are allowed"):
        payloads.store(longest + "a")
    assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 1


@pytest.mark.parametrize(
    "content", [b"\xff", b'{"a":"\xe4"}', b"\xed\xa0\x80", b"\x1f\x8b\x08\x00", "ä".encode("utf-16")]
)
def test_an_object_that_is_not_utf_8_is_refused(s3: Any, content: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key="payloads/7", Body=content)
    with pytest.raises(InvalidRequestError, match="payloads/7 is not UTF-8") as caught:
        Payloads(lambda: s3, bucket=BUCKET).fetch(pointer())
    assert len(str(caught.value)) < 300
