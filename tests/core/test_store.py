"""The deployment's bucket: what is stored, and who may read it by a link."""

import os
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.stub import ANY, Stubber

from chalicelib.core import context
from chalicelib.core.errors import TransientError
from chalicelib.core.store import PIECE, READ_BYTES, NotFoundError, Store, UploadPool
from nightshift.local.aws import LocalAws
from nightshift.local.environment import BUCKET

HTML = "text/html; charset=utf-8"
KEY = "reports/2026-02/job-1.html"


@pytest.fixture
def store(aws: LocalAws) -> Store:
    return Store(aws.client("s3"), bucket=BUCKET)


def test_a_link_opens_what_was_stored_as_what_it_is(store: Store) -> None:
    store.put(KEY, "<p>Zoë 🐙".encode(), content_type=HTML)
    with urllib.request.urlopen(store.link(KEY, seconds=60)) as answer:
        assert (answer.headers["Content-Type"], answer.read().decode()) == (HTML, "<p>Zoë 🐙")


def test_storing_again_replaces_what_the_same_link_opens(store: Store) -> None:
    store.put(KEY, b"first", content_type=HTML)
    link = store.link(KEY, seconds=60)
    store.put(KEY, b"second", content_type=HTML)
    with urllib.request.urlopen(link) as answer:
        assert answer.read() == b"second"


def test_a_link_opens_nothing_else(store: Store) -> None:
    store.put(KEY, b"x", content_type=HTML)
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        urllib.request.urlopen(store.link("reports/2026-02/job-2.html", seconds=60))
    refused.value.close()


@pytest.mark.parametrize("seconds", [60, 43_200])
def test_a_link_says_how_long_it_is_good_for(seconds: int) -> None:
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="eu-west-1")
    s3 = session.client("s3", config=Config(signature_version="s3v4"))
    query = parse_qs(urlsplit(Store(s3, bucket=BUCKET).link(KEY, seconds=seconds)).query)
    assert query["X-Amz-Expires"] == [str(seconds)]


def test_a_bucket_that_is_gone_may_come_back(aws: LocalAws) -> None:
    store = Store(aws.client("s3"), bucket="nosuch-bucket")
    with pytest.raises(TransientError, match=rf"\A{KEY} cannot be stored: .*NoSuchBucket"):
        store.put(KEY, b"x", content_type=HTML)


def test_an_s3_that_cannot_be_reached_may_be_reached_later() -> None:
    store = Store(LocalAws("http://127.0.0.1:9").client("s3"), bucket=BUCKET)
    with pytest.raises(TransientError, match=rf"\A{KEY} cannot be stored: Could not connect to the endpoint"):
        store.put(KEY, b"x", content_type=HTML)


def test_a_link_is_signed_as_an_encrypted_bucket_wants_it_and_leads_to_its_own_region(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    link = Store(context._made_client.__wrapped__("s3"), bucket=BUCKET).link(KEY, seconds=60)
    assert link.startswith(f"https://{BUCKET}.s3.eu-west-1.amazonaws.com/{KEY}?X-Amz-Algorithm=AWS4-HMAC-SHA256&")


def test_what_is_read_is_what_was_stored(store: Store) -> None:
    content = os.urandom(3 * READ_BYTES + 1)
    store.put(KEY, content, content_type="application/octet-stream")
    assert b"".join(store.read(KEY)) == content
    store.put(KEY, b"", content_type="application/octet-stream")
    assert b"".join(store.read(KEY)) == b""


def test_what_is_not_there_is_missing(store: Store) -> None:
    with pytest.raises(NotFoundError, match=rf"\A{KEY} cannot be read: it does not exist"):
        next(store.read(KEY))


def test_a_bucket_that_is_gone_has_nothing_missing(aws: LocalAws) -> None:
    with pytest.raises(TransientError, match=rf"\A{KEY} cannot be read: .*NoSuchBucket"):
        next(Store(aws.client("s3"), bucket="nosuch-bucket").read(KEY))


def test_the_pieces_of_an_upload_carry_checksums_as_a_bucket_with_an_object_lock_demands() -> None:
    """The emulator does not."""
    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="eu-west-1")
    client = session.client("s3")
    place, begun = {"Bucket": BUCKET, "Key": KEY}, {"Bucket": BUCKET, "Key": KEY, "UploadId": "7"}
    piece = {"PartNumber": 1, "ETag": "one", "ChecksumCRC32": "AAAAAA=="}
    with Stubber(client) as stub:
        announced = place | {"ContentType": HTML, "ChecksumAlgorithm": "CRC32"}
        stub.add_response("create_multipart_upload", {"UploadId": "7"}, announced)
        sent = begun | {"PartNumber": 1, "Body": ANY, "ChecksumAlgorithm": "CRC32"}
        stub.add_response("upload_part", {"ETag": "one", "ChecksumCRC32": "AAAAAA=="}, sent)
        stub.add_response("complete_multipart_upload", {}, begun | {"MultipartUpload": {"Parts": [piece]}})
        pool = UploadPool()
        Store(client, bucket=BUCKET).upload(KEY, [bytes(PIECE)], content_type=HTML, pool=pool)
        pool.close()
        stub.assert_no_pending_responses()


CONTENT = os.urandom(1_000_000)


@contextmanager
def breaking(*lengths: int, etags: Sequence[str] = ('"one"',) * 4) -> Iterator[tuple[Store, list[int]]]:
    """Serve an object over connections that break after so many bytes each; note where each began."""
    begun: list[int] = []

    def serve(listener: socket.socket) -> None:
        for length, etag in zip(lengths, etags, strict=False):
            connection, _ = listener.accept()
            with closing(connection):
                asked = connection.recv(1 << 16).decode()
                first = re.search(r"^Range: bytes=(\d+)-\r$", asked, re.M)
                match = re.search(r"^If-Match: (.*)\r$", asked, re.M)
                start = int(first[1]) if first else 0
                begun.append(start)
                refused = match is not None and match[1] != etag
                status = "412 Precondition Failed" if refused else "206 Partial Content" if start else "200 OK"
                rest = b"" if refused else CONTENT[start:]
                head = f"HTTP/1.1 {status}\r\nETag: {etag}\r\nContent-Length: {len(rest)}\r\n\r\n"
                connection.sendall(head.encode() + rest[:length])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        thread = Thread(target=serve, args=(listener,))
        thread.start()
        yield Store(LocalAws(f"http://127.0.0.1:{listener.getsockname()[1]}").client("s3"), bucket=BUCKET), begun
        thread.join()


def test_reading_goes_on_where_a_connection_broke() -> None:
    with breaking(300_000, 0, 500_000, 200_000) as (store, begun):
        assert b"".join(store.read(KEY)) == CONTENT
    assert begun[0] == 0
    assert begun == sorted(begun)
    assert begun[3] > 700_000


def test_reading_is_given_up_where_connections_break_all_the_time() -> None:
    with breaking(300_000, 0, 0, 0) as (store, begun), pytest.raises(TransientError, match=f"{KEY} cannot be read"):
        list(store.read(KEY))
    assert len(begun) == 4


def test_reading_never_goes_on_in_another_object() -> None:
    with (
        breaking(300_000, 300_000, etags=['"one"', '"two"']) as (store, _),
        pytest.raises(TransientError, match=f"{KEY} cannot be read: .*412"),
    ):
        list(store.read(KEY))


def test_what_was_deleted_is_gone_and_the_rest_is_listed_by_key(store: Store) -> None:
    for key in ("b/2", "a/1", "b/1", "b/10"):
        store.put(key, b"12345", content_type=HTML)
    assert [(found.key, found.size) for found in store.list("b/")] == [("b/1", 5), ("b/10", 5), ("b/2", 5)]
    assert store.delete(["b/1", "b/10", "never/there"]) == {}
    assert store.delete([]) == {}
    assert [found.key for found in store.list("")] == ["a/1", "b/2"]
