"""The HTTP servers of a soak, whose clients may be killed at any moment."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """A server on a free port, which a client that is gone does not trouble."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler: type["Handler"]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that is gone."""


class Handler(BaseHTTPRequestHandler):
    """Answers, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """Send an answer; headers may tell another length than the body's, for a HEAD."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the soak's own report is all that is printed."""
