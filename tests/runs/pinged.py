"""A service on this machine that is pinged, and answers as a test tells it to, or does not."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from nightshift.local.servers import serving


@dataclass(frozen=True, kw_only=True)
class Told:
    """One request."""

    method: str
    target: str
    body: str


class Service:
    """`told` has the requests; `answer` is what each gets, as bytes, or None for nothing, ever."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.answer: bytes | None = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
        # Between two bytes of the answer.
        self.pause = 0.0
        self.stopped = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        # One that a test has left waiting must not keep the test waiting.
        self.server.daemon_threads = True
        self.server.block_on_close = False

    def url(self, path: str) -> str:
        """Return the URL of a path."""
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"

    @property
    def targets(self) -> list[str]:
        """The method and the target of each request."""
        return [f"{each.method} {each.target}" for each in self.told]


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            service.told.append(Told(method=self.command, target=self.path, body=body))
            self.close_connection = True
            if service.answer is None:
                service.stopped.wait()
                return
            # Whoever asked may have gone.
            with contextlib.suppress(OSError):
                for place in range(len(service.answer)):
                    if service.stopped.wait(service.pause):
                        return
                    self.wfile.write(service.answer[place : place + 1])

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler


@contextlib.contextmanager
def pinged() -> Iterator[Service]:
    """Yield a service that listens."""
    service = Service()
    with serving(service.server):
        try:
            yield service
        finally:
            service.stopped.set()
