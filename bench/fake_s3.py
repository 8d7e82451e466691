"""An S3 that takes whatever it is given, so that only what a client does is measured."""

from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nightshift.local.servers import serving


class FakeS3(BaseHTTPRequestHandler):
    """Takes objects, whole and in pieces, and keeps nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Begin or complete an upload."""
        self._take()
        kind = "InitiateMultipartUpload" if self.path.endswith("uploads") else "CompleteMultipartUpload"
        self._answer(f"<{kind}Result><UploadId>1</UploadId><ETag>1</ETag></{kind}Result>".encode())

    def do_PUT(self) -> None:
        """Take an object or a piece of one."""
        if self.headers["Expect"] == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        self._take()
        self._answer(b"")

    def _take(self) -> None:
        left = int(self.headers["Content-Length"] or 0)
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def fake_s3() -> AbstractContextManager[str]:
    """Serve a fake S3 from this process, which does nothing else meanwhile; give its URL."""
    return serving(ThreadingHTTPServer(("127.0.0.1", 0), FakeS3))
