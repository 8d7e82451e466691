"""An application that resizes pictures: it verifies each call, is busy at the first, and answers with the result."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer

from nightshift.local.servers import serving

TYPE = "resize_image"
SECRET = "whsec_" + base64.b64encode(b"not a secret: for the demo only").decode()
BUSY_SECONDS = 90


class _Application(HTTPServer):
    """The server. It has been busy once it has told somebody so."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.was_busy = False

    def answer(self, *, signed: bytes, signatures: str, body: bytes) -> tuple[HTTPStatus, dict[str, str], str]:
        """Return the status, headers and body of the answer to a call."""
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        expected = "v1," + base64.b64encode(hmac.digest(key, signed + body, hashlib.sha256)).decode()
        if not any(hmac.compare_digest(expected, signature) for signature in signatures.split()):
            return HTTPStatus.UNAUTHORIZED, {}, "the signature is wrong"
        if not self.was_busy:
            self.was_busy = True
            return HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": str(BUSY_SECONDS)}, "other pictures come first"
        picture = json.loads(body)["data"]
        return HTTPStatus.OK, {}, json.dumps({"url": f"/small/{picture['key']}", "width": picture["width"]})


class _Handler(BaseHTTPRequestHandler):
    server: _Application

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode()
        signatures = self.headers.get("webhook-signature", "")
        status, headers, text = self.server.answer(signed=signed, signatures=signatures, body=body)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(text.encode()))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def application() -> Iterator[str]:
    """Run the application on a free port of the loopback interface, and yield the URL that performs jobs."""
    with serving(_Application()) as url:
        yield f"{url}/jobs"
