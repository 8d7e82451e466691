"""Another system's API on this machine, which answers as a test tells it to, well or badly."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from nightshift.local.servers import serving

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request: its path, its query and its headers by lower-case name."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What to answer. A body in pieces ends with the connection; bytes have a Content-Length unless headers do."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)


def listing(items: object, **headers: str) -> Reply:
    """Return an answer that is this JSON."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(body=json.dumps(items).encode(), headers=JSON | named)


class Upstream:
    """The server. `answer` is called with each request; `asked` has them all; `stopped` ends what never ends."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Reply] = lambda asked: listing([])
        self.stopped = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        # A handler that a test has cut off must not keep the test waiting.
        self.server.daemon_threads = True
        self.server.block_on_close = False

    @property
    def port(self) -> int:
        """The port of 127.0.0.1 that it listens on."""
        return int(self.server.server_address[1])

    def url(self, path: str = "/items") -> str:
        """Return the URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def always(self, reply: Reply) -> None:
        """Answer every request alike."""
        self.answer = lambda asked: reply

    def serve(self, items: object, **headers: str) -> None:
        """Answer every request with this JSON."""
        self.always(listing(items, **headers))

    def in_turn(self, *replies: Reply) -> None:
        """Answer one request after the other, the last answer again and again."""
        left = list(replies)
        self.answer = lambda asked: left.pop(0) if len(left) > 1 else left[0]

    def pages(self, *pages: list[Any], **more: Any) -> None:
        """Answer with pages that a cursor leads through."""

        def answer(asked: Asked) -> Reply:
            number = int(asked.query.get("cursor", 0))
            following = str(number + 1) if number + 1 < len(pages) else None
            return listing({"items": pages[number], "next_cursor": following, **more})

        self.answer = answer

    def drip(self, data: bytes, *, seconds: float = 0.02) -> Iterator[bytes]:
        """Give the bytes one by one, with a pause before each."""
        for byte in data:
            if self.stopped.wait(seconds):
                return
            yield bytes([byte])


def _handler(upstream: Upstream) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(path=parts.path, query=dict(parse_qsl(parts.query)), headers=headers)
            upstream.asked.append(asked)
            # Whoever asked may have gone.
            with contextlib.suppress(OSError):
                self._send(upstream.answer(asked))

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            named = {name.lower() for name in reply.headers}
            if isinstance(reply.body, bytes) and not named & {"content-length", "transfer-encoding"}:
                self.send_header("Content-Length", str(len(reply.body)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            for piece in [reply.body] if isinstance(reply.body, bytes) else reply.body:
                self.wfile.write(piece)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


@contextlib.contextmanager
def upstream() -> Iterator[Upstream]:
    """Run the server."""
    running = Upstream()
    with serving(running.server):
        try:
            yield running
        finally:
            running.stopped.set()
