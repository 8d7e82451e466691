"""An application that resizes pictures: it verifies each call, answers the first with 503, and others with a result."""

import base64
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

from chalicelib.queue.application import sign
from nightshift.local.servers import serving

TYPE = "resize_image"
KEY = b"not a secret: for the demo only"
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
BUSY_SECONDS = 90


class _Application(HTTPServer):
    """The server. It is busy until it has answered a call with 503."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.is_busy = True


class _Handler(BaseHTTPRequestHandler):
    server: _Application

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, headers, text = self._answer(body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def _answer(self, body: bytes) -> tuple[HTTPStatus, dict[str, str], str]:
        id_, timestamp = self.headers["webhook-id"], int(self.headers["webhook-timestamp"])
        expected = sign([KEY], id_=id_, timestamp=timestamp, body=body)
        if not hmac.compare_digest(expected, self.headers["webhook-signature"]):
            return HTTPStatus.UNAUTHORIZED, {}, "the signature is wrong"
        if self.server.is_busy:
            self.server.is_busy = False
            return HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(BUSY_SECONDS)}, "other pictures come first"
        picture = json.loads(body)["data"]
        return HTTPStatus.OK, {}, json.dumps({"url": f"/small/{picture['key']}", "width": picture["width"]})

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def application() -> Iterator[str]:
    """Run the application on a free port of the loopback interface, and yield the URL that performs jobs."""
    with serving(_Application()) as url:
        yield f"{url}/jobs"
