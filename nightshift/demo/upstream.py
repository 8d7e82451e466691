"""The API of another system: it has pages and ETags, and throttles."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from nightshift.local.servers import serving

PAGE = 25
# After this many answers from a list, a client must wait.
BURST, WAIT_SECONDS = 3, 1

Items = Sequence[Mapping[str, Any]]


class Upstream:
    """The API: each path is a list of items. `answered` counts the answers by path and status."""

    def __init__(self, lists: Mapping[str, Items], *, clock: Callable[[], float]) -> None:
        self.answered: Counter[tuple[str, int]] = Counter()
        self._lists = lists
        self._clock = clock
        self._granted: Counter[str] = Counter()
        self._closed_until: dict[str, float] = {}
        self.server = HTTPServer(("127.0.0.1", 0), _handler(self))

    def url(self, path: str) -> str:
        """Return the URL of a list."""
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"

    def answer(self, target: str, *, known: str | None) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body for a path and query; `known` is the client's ETag."""
        parts = urlsplit(target)
        status, headers, body = self._answer(parts.path, parse_qs(parts.query).get("page", ["1"])[0], known)
        self.answered[parts.path, status] += 1
        return status, headers, body

    def _answer(self, path: str, page: str, known: str | None) -> tuple[int, dict[str, str], bytes]:
        if path not in self._lists or not page.isdecimal() or int(page) < 1:
            return 404, {}, b""
        if not self._is_granted(path):
            return 429, {"Retry-After": str(WAIT_SECONDS)}, b""
        items, end = self._lists[path], int(page) * PAGE
        body = json.dumps(list(items[end - PAGE : end]), ensure_ascii=False).encode()
        headers = {"ETag": f'"{sha256(body).hexdigest()[:16]}"'}
        if end < len(items):
            headers["Link"] = f'<{path}?page={int(page) + 1}>; rel="next"'
        if known == headers["ETag"]:
            return 304, headers, b""
        return 200, headers | {"Content-Type": "application/json"}, body

    def _is_granted(self, path: str) -> bool:
        now = self._clock()
        if now < self._closed_until.get(path, now):
            return False
        if self._granted[path] == BURST:
            self._granted[path], self._closed_until[path] = 0, now + WAIT_SECONDS
            return False
        self._granted[path] += 1
        return True


def _handler(upstream: Upstream) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = upstream.answer(self.path, known=self.headers.get("If-None-Match"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    return Handler


@contextmanager
def upstream(lists: Mapping[str, Items], *, clock: Callable[[], float] = time.monotonic) -> Iterator[Upstream]:
    """Run the API on a free port of the loopback interface."""
    api = Upstream(lists, clock=clock)
    with serving(api.server):
        yield api
