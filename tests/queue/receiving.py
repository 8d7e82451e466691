"""An application on this machine that performs jobs, and answers as a test tells it to, well or badly."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nightshift.local.servers import serving


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request: its headers by lower-case name, its body, and the connection that it came by."""

    headers: Mapping[str, str]
    body: bytes
    port: int

    @property
    def job(self) -> dict[str, Any]:
        """The job that it asks for."""
        read: dict[str, Any] = json.loads(self.body)
        return read


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What to answer. A body in pieces ends with the connection, and None is no answer at all."""

    status: int | None = 200
    body: bytes | Iterable[bytes] = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Application(ThreadingHTTPServer):
    """The server. `answer` is called with each request, `calls` has them all; `stopped` ends what never ends."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[Call] = []
        self.answer: Callable[[Call], Answer] = lambda call: Answer()
        self.stopped = threading.Event()

    @property
    def url(self) -> str:
        """The URL that performs jobs."""
        return f"http://127.0.0.1:{self.server_address[1]}/jobs"

    def always(self, status: int | None, body: bytes | Iterable[bytes] = b"", **headers: str) -> None:
        """Answer every request alike."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answer = lambda call: Answer(status=status, body=body, headers=named)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: Application

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(headers=headers, body=body, port=self.client_address[1])
        self.server.calls.append(call)
        answer = self.server.answer(call)
        if answer.status is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if isinstance(answer.body, bytes):
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)
            return
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            for piece in answer.body:
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            # It has read enough.
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Be silent."""


@contextmanager
def application() -> Iterator[Application]:
    """Run an application."""
    server = Application()
    with serving(server):
        try:
            yield server
        finally:
            server.stopped.set()
