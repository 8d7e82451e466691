"""An S3 that takes every object and keeps none, fast enough not to be what a rate measures."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from nightshift.local.servers import serving

BEGUN = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"


class Sink(ThreadingHTTPServer):
    """Counts the bytes that came by key."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: Counter[str] = Counter()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _take(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(chunk := self.rfile.read(min(left, 1 << 20)))
            if self.command == "PUT":
                self.server.received[self.path.partition("?")[0]] += len(chunk)  # type: ignore[attr-defined]
        answer = BEGUN if self.path.endswith("?uploads") else b""
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_POST = _take  # noqa: N815 (the module's own names)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@contextmanager
def sink() -> Iterator[Sink]:
    """Run one."""
    server = Sink()
    with serving(server):
        yield server
