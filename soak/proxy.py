"""A server between the functions and the emulator, that lets calls go wrong as the weather has it."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from nightshift.local.servers import serving
from soak.serving import Handler, Server
from soak.weather import Trouble

# How each service says that it is asked too much, and that it is broken: status, headers, body.
Answer = tuple[int, dict[str, str], bytes]
JSON = {"Content-Type": "application/x-amz-json-1.0"}
THROTTLED: dict[str, Answer] = {
    "sqs": (400, JSON, b'{"__type": "com.amazonaws.sqs#RequestThrottled", "message": "too fast"}'),
    "ses": (429, {"x-amzn-ErrorType": "TooManyRequestsException"}, b'{"message": "too fast"}'),
    "s3": (503, {"Content-Type": "application/xml"}, b"<Error><Code>SlowDown</Code></Error>"),
}
REFUSED: dict[str, Answer] = {
    "sqs": (500, JSON, b'{"__type": "com.amazonaws.sqs#InternalError", "message": "it is broken"}'),
    "ses": (500, {"x-amzn-ErrorType": "InternalServiceError"}, b'{"message": "it is broken"}'),
    "s3": (500, {"Content-Type": "application/xml"}, b"<Error><Code>InternalError</Code></Error>"),
}


@contextmanager
def proxy(endpoint: str, trouble: Callable[[str], Trouble | None]) -> Iterator[str]:
    """Serve on a port of its own what is served at the endpoint; `trouble` says what becomes of a service's call."""
    host = urlsplit(endpoint).netloc

    class Proxy(Handler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            service = _service(self.headers.get("Authorization") or "")
            kind = trouble(service) if service in REFUSED else None
            if kind in {"refused", "throttled"}:
                self.answer(*(REFUSED if kind == "refused" else THROTTLED)[service])
                return
            if kind == "lost":
                self.close_connection = True
                return
            answer = self._forward(body)
            if kind == "answer lost":
                self.close_connection = True
                return
            self.answer(*answer)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815 (http.server's names)

        def _forward(self, body: bytes) -> Answer:
            connection = http.client.HTTPConnection(host, timeout=60)
            connection.request(self.command, self.path, body=body, headers=dict(self.headers))
            response = connection.getresponse()
            content = response.read()
            connection.close()
            kept = {
                name: value
                for name, value in response.getheaders()
                if name.lower() not in {"content-length", "transfer-encoding", "connection", "date", "server"}
            }
            # The length of what a HEAD asks about is its own.
            if self.command == "HEAD" and response.headers.get("Content-Length"):
                kept["Content-Length"] = response.headers["Content-Length"]
            return response.status, kept, content

    with serving(Server(Proxy)) as url:
        yield url


def _service(authorization: str) -> str:
    # AWS4-HMAC-SHA256 Credential=local/20270101/us-east-1/sqs/aws4_request, …
    scope = authorization.partition("Credential=")[2].split("/")
    return scope[3] if len(scope) > 3 else ""
