"""Sources that answer with anything: each is refused by name, and stops no other."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.core.errors import NightshiftError, PermanentError
from chalicelib.tasks.external_sync.http_client import Validators
from chalicelib.tasks.external_sync.pages import Cursors, Links, Numbers, OnePage, Page, Pages
from chalicelib.tasks.external_sync.reader import request
from chalicelib.tasks.external_sync.sources import Source
from chalicelib.tasks.external_sync.splitting import Splitter
from tests.sweep import examples
from tests.tasks.external_sync.deployment import ITEMS, Deployment, fails
from tests.tasks.external_sync.upstream import Reply, listing

# What standard libraries take for a mistake of the caller's.
BAD_URLS = [
    "http://[::1/",
    "http://[x]/",
    "http://[1.2.3.4]/",
    "//[v1.x",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:x/",
    "http://127.0.0.1:²/",
    "http://a\u2100b/",
    "http://",
    "",
    "\x00",
    "file:///etc/passwd",
    "http://127.0.0.1\\@evil.example/",
]


def raises(_item: Any) -> None:
    raise AttributeError("the author of the source made a mistake")


REPLIES: dict[str, tuple[dict[str, Any], Reply]] = {
    **{f"location {url!a}": ({}, Reply(status=302, headers={"Location": url})) for url in BAD_URLS if url.isascii()},
    **{
        f"link {url!a}": ({"pages": Links()}, listing(ITEMS, Link=f'<{url}>; rel="next"'))
        for url in BAD_URLS
        if url.isascii() and url
    },
    "retry after": ({}, Reply(status=429, headers={"Retry-After": "9" * 309})),
    "valid raises": ({"valid": raises}, listing(ITEMS)),
    "cursor": ({"pages": Cursors()}, Reply(body=b'{"items": [], "next_cursor": %b}' % (b"9" * 5000))),
    "chunk": ({}, Reply(body=b"-5\r\n[]", headers={"Transfer-Encoding": "chunked"})),
    "long chunk": ({}, Reply(body=b"f" * 5000 + b"\r\n[]", headers={"Transfer-Encoding": "chunked"})),
    "deep": ({}, Reply(body=b"[" * 100_000)),
}


@pytest.mark.parametrize("name", REPLIES)
def test_each_source_stands_by_itself(lite: Deployment, name: str) -> None:
    declared, reply = REPLIES[name]
    lite.upstream.answer = lambda asked: reply if asked.path == "/bad" else listing([{"id": "good"}])
    bad = lite.source(name="bad", url=lite.upstream.url("/bad"), **declared)
    good = lite.source(name="good", url=lite.upstream.url("/good"))
    lite.declare_all(bad, good)
    fails(lite, "items failed" if name == "valid raises" else "bad: ")
    assert "good" in lite.data()


PIECES = [
    b" ",
    b"\t",
    b"\r\n",
    b"\n",
    b"\r",
    b":",
    b";",
    b",",
    b"=",
    b'"',
    b"<",
    b">",
    b"/",
    b"[",
    b"]",
    b"{",
    b"}",
    b"-",
]
HEADERS = [
    "Location",
    "Link",
    "Retry-After",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Transfer-Encoding",
    "ETag",
    "Last-Modified",
    "Connection",
]
VALUES = [
    *(url.encode("latin-1", "replace") for url in BAD_URLS),
    *(b"chunked", b"gzip", b"identity", b"application/json", b"0", b"5", b"-1", b"9" * 400, b"1e5", b"\xff", b"\x00"),
    *(b"Sat, 20 Feb 2016 20:26:40 GMT", b'<http://[::1/>; rel="next"', b'</items>; rel=next; rel="next', b"close"),
]
values = st.lists(st.sampled_from(VALUES + PIECES) | st.binary(max_size=5), max_size=4).map(b"".join)
statuses = st.sampled_from([b"200", b"302", b"304", b"429", b"503", b"100", b"999", b"-1", b"2 0", b"9" * 30, b""])
headers = st.lists(st.tuples(st.sampled_from(HEADERS), values), max_size=4)
bodies = st.lists(
    st.sampled_from(
        [b"[", b"]", b"{", b"}", b'{"id": 1}', b",", b'"items":', b'"', b"2\r\n", b"0\r\n\r\n", b"\x1f\x8b"]
    )
    | st.binary(max_size=20),
    max_size=8,
).map(b"".join)


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    lines = [b"HTTP/1.1 " + draw(statuses) + b" OK"]
    lines += [name.encode() + b": " + value for name, value in draw(headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + draw(bodies)


@contextmanager
def answering() -> Iterator[tuple[int, Callable[[bytes], None]]]:
    """Answer each request with the bytes that were set last, and hang up; give the port and what sets them."""
    answer = [b""]

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if not connection.recv(65_536):
                    return
                connection.sendall(answer[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1], lambda raw: answer.__setitem__(0, raw)
        finally:
            socket.create_connection(listener.getsockname()).close()
            thread.join(10)


@pytest.fixture(scope="module")
def raw() -> Iterator[tuple[int, Callable[[bytes], None]]]:
    with answering() as server:
        yield server


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answer=answers(), pages=st.sampled_from([OnePage(), Links(), Cursors(), Numbers()]))
def test_any_answer_is_read_or_refused_by_an_error_of_ours(
    raw: tuple[int, Callable[[bytes], None]], answer: bytes, pages: Pages
) -> None:
    port, set_answer = raw
    set_answer(answer)
    url = f"http://127.0.0.1:{port}/items"
    source = Source(name="shop", url=url, is_internal=True, pages=pages, max_bytes=100_000)
    validators = Validators(url=url, etag='"v1"')
    try:
        with request(source, url, validators=validators, seconds=5, now_ms=1_456_000_000_000) as answered:
            splitter = Splitter(answered.body, key="items")
            items = sum(len(found) for found in splitter)
            link = ", ".join(answered.headers.get_all("Link", []))
            page = Page(url=answered.url, position=None, link=link, envelope=splitter.envelope, items=items)
            following = pages.following(page)
            assert following is None or pages.url(url, following)
            Validators.of(answered.headers, url=answered.url, declared="x")
    except NightshiftError as error:
        wait = getattr(error, "wait_seconds", None)
        assert wait is None or 0 <= wait <= 86_400


@settings(max_examples=examples(300))
@given(reference=st.lists(st.sampled_from(BAD_URLS) | st.text(st.characters(), max_size=5), max_size=3).map("".join))
def test_any_link_is_a_url_or_refused(reference: str) -> None:
    page = Page(url="https://x.example/a", position=None, link=f'<{reference}>; rel="next"', envelope={}, items=1)
    with suppress(PermanentError):
        Links().following(page)
