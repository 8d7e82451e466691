"""One answer over real connections: how long it may take, how large it may be, and from whom it may come."""

import gzip
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from chalicelib.core import http
from chalicelib.core.deadline import TimedOutError
from chalicelib.core.errors import PermanentError
from chalicelib.core.http import Limits, RetryableError
from chalicelib.tasks.external_sync.http_client import get
from tests.tasks.external_sync.upstream import Reply, Upstream, upstream

MEBIBYTE = 1024 * 1024


def read(url: str, *, seconds: float = 5, max_bytes: int = MEBIBYTE, headers: dict[str, str] | None = None) -> bytes:
    """Return the whole body of an answer."""
    limits = Limits(seconds=seconds, max_bytes=max_bytes, is_internal=True)
    with get(url, headers=headers or {}, limits=limits) as answer:
        return b"".join(answer.body)


def test_an_answer_is_decoded_and_asked_for_as_such(upstream: Upstream) -> None:
    body = b"x" * 300_000
    upstream.always(Reply(body=gzip.compress(body[:1]) + gzip.compress(body[1:]), headers={"Content-Encoding": "gzip"}))
    assert read(upstream.url("/a?b=c%20d"), headers={"X-Key": "k"}) == body
    (asked,) = upstream.asked
    assert (asked.path, asked.query) == ("/a", {"b": "c d"})
    assert asked.headers["accept-encoding"] == "gzip"
    assert asked.headers["x-key"] == "k"
    assert asked.headers["host"] == f"127.0.0.1:{upstream.port}"


def test_an_address_with_letters_beyond_ascii_is_quoted(upstream: Upstream) -> None:
    read(upstream.url("/grün weiß?q=ü"))
    assert (upstream.asked[0].path, upstream.asked[0].query) == ("/gr%C3%BCn%20wei%C3%9F", {"q": "ü"})


def test_a_body_in_chunks_is_read_to_its_end(upstream: Upstream) -> None:
    upstream.always(
        Reply(body=[b"2\r\n[1\r\n", b"1;x=y\r\n]\r\n", b"0\r\n\r\n"], headers={"Transfer-Encoding": "chunked"})
    )
    assert read(upstream.url()) == b"[1]"


@pytest.mark.parametrize("where", ["headers", "body", "chunks"])
def test_dripping_response_times_out(upstream: Upstream, where: str) -> None:
    endless = upstream.drip(b"x" * 1000)
    replies = {
        "body": Reply(body=endless),
        "chunks": Reply(body=endless, headers={"Transfer-Encoding": "chunked"}),
        "headers": Reply(),
    }
    upstream.always(replies[where])
    url = upstream.url()
    if where == "headers":
        url = f"http://127.0.0.1:{drip_headers(upstream)}/"
    started = time.monotonic()
    with pytest.raises(TimedOutError, match=r"the response took longer than the 0\.3 s that it may take"):
        read(url, seconds=0.3)
    assert time.monotonic() - started < 3


def drip_headers(upstream: Upstream) -> int:
    """Let another port answer with headers that never end; return it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            for byte in upstream.drip(b"y" * 1000):
                try:
                    connection.sendall(byte)
                except OSError:
                    return

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


def test_hanging_server_times_out(upstream: Upstream) -> None:
    def hang(_: object) -> Reply:
        upstream.stopped.wait(10)
        return Reply()

    upstream.answer = hang
    with pytest.raises(TimedOutError):
        read(upstream.url(), seconds=0.2)


def test_processing_does_not_count_as_waiting(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    upstream.always(Reply(body=b"x" * 500_000))
    now = [0.0]
    monkeypatch.setattr(http, "time", SimpleNamespace(monotonic=lambda: now[0]))
    limits = Limits(seconds=5, max_bytes=MEBIBYTE, is_internal=True)
    with get(upstream.url(), headers={}, limits=limits) as answer:
        length = 0
        for piece in answer.body:
            length += len(piece)
            now[0] += 100
    assert length == 500_000


def test_refused_connection_is_retryable(upstream: Upstream) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(RetryableError, match=r"there is no connection to 127\.0\.0\.1"):
            read(f"http://127.0.0.1:{bound.getsockname()[1]}/")


@pytest.mark.parametrize(
    "headers", [{}, {"Transfer-Encoding": "chunked"}, {"Content-Length": str(10**12)}, {"Content-Length": "lots"}]
)
def test_a_body_without_end_is_cut_at_the_limit(upstream: Upstream, headers: dict[str, str]) -> None:
    def endless() -> Iterator[bytes]:
        while not upstream.stopped.is_set():
            yield b"10000\r\n" + b"x" * 65_536 + b"\r\n"

    upstream.always(Reply(body=endless(), headers=headers))
    with pytest.raises(PermanentError, match="more than the 1,048,576 bytes that it may have"):
        read(upstream.url())


def test_compression_bomb_is_cut_at_the_limit(upstream: Upstream) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b"\0" * MEBIBYTE) for _ in range(200)) + packer.flush()
    assert len(bomb) < MEBIBYTE / 4
    upstream.always(Reply(body=bomb, headers={"Content-Encoding": "gzip"}))
    pieces: list[int] = []
    limits = Limits(seconds=5, max_bytes=MEBIBYTE, is_internal=True)
    with (
        pytest.raises(PermanentError, match="more than the 1,048,576 bytes"),
        get(upstream.url(), headers={}, limits=limits) as answer,
    ):
        pieces.extend(len(piece) for piece in answer.body)
    assert max(pieces, default=0) <= 65_536


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_an_encoding_that_was_not_asked_for_is_refused(upstream: Upstream, coding: str) -> None:
    upstream.always(Reply(body=b"[]", headers={"Content-Encoding": coding}))
    with pytest.raises(PermanentError, match="which was not requested"):
        read(upstream.url())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_host_is_followed_with_what_was_sent(upstream: Upstream, status: int) -> None:
    there = Reply(status=status, headers={"Location": "/there?x=1"})
    upstream.answer = lambda asked: Reply(body=b"[1]") if asked.path == "/there" else there
    assert read(upstream.url(), headers={"X-Key": "k"}) == b"[1]"
    assert [asked.headers["x-key"] for asked in upstream.asked] == ["k", "k"]


def test_a_redirect_to_another_host_is_not_followed(upstream: Upstream) -> None:
    with upstream_elsewhere() as elsewhere:
        for location in (
            f"http://localhost:{upstream.port}/",
            elsewhere.url(),
            f"https://127.0.0.1:{upstream.port}/",
            "//evil.example/",
            "file:///etc/passwd",
            f"http://127.0.0.1:{upstream.port}@evil.example/",
            "http://127.0.0.1:99999/",
        ):
            upstream.always(Reply(status=302, headers={"Location": location}))
            with pytest.raises(PermanentError, match="it leads to"):
                read(upstream.url(), headers={"Authorization": "Bearer k"})
        assert elsewhere.asked == []


upstream_elsewhere = upstream


@pytest.mark.parametrize(("location", "reason"), [("/items", "more than 5 redirects"), ("", "without a Location")])
def test_endless_or_empty_redirects_fail(upstream: Upstream, location: str, reason: str) -> None:
    upstream.always(Reply(status=302, headers={"Location": location}))
    with pytest.raises(PermanentError, match=reason):
        read(upstream.url())


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200,
    ],
)
def test_a_connection_that_ends_too_early_or_speaks_no_http_may_be_tried_again(upstream: Upstream, sent: bytes) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(65_536)
            connection.sendall(sent)

    threading.Thread(target=serve, daemon=True).start()
    with pytest.raises(RetryableError):
        read(f"http://127.0.0.1:{listener.getsockname()[1]}/")


def test_an_empty_content_encoding_encodes_nothing(upstream: Upstream) -> None:
    upstream.always(Reply(body=b"[]", headers={"Content-Encoding": ""}))
    assert read(upstream.url()) == b"[]"
