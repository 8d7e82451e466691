"""The server of the live page: this machine's own, and small. It changes nothing but by a form of its own page."""

import sys
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from secrets import token_urlsafe
from urllib.parse import parse_qsl, quote, urlsplit

from nightshift.cli.requests import run
from nightshift.cli.user_errors import message_of
from nightshift.dev import page
from nightshift.dev.actions import ACTIONS, Run, perform
from nightshift.dev.gate import refuse_host, refuse_origin, refuse_token

LONGEST_FORM = 8192
FORM = "application/x-www-form-urlencoded"
# The policy of the page itself, and that no other page may show it and have somebody press its buttons unawares.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


class Server(ThreadingHTTPServer):
    """Serves on the loopback interface, on a free port where none is given; `url` is for whoever may come in."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.token = token_urlsafe(32)
        # What has a task run: here, in this process, or as whoever serves the page has functions run.
        self.run: Run = partial(run, None)
        # What the last button did, for the next page to tell.
        self.notice: str | None = None

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a visitor who is gone in the middle; anything else is told as ever."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        return f"http://127.0.0.1:{self.server_port}{self.path}"

    @property
    def path(self) -> str:
        """The page below whichever name of the server."""
        return f"/?token={quote(self.token)}"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    server_version, sys_version = "nightshift", ""
    timeout = 10

    def parse_request(self) -> bool:
        """Read the request's head, and refuse an address that is none."""
        if not super().parse_request():
            return False
        try:
            urlsplit(self.path)
        except ValueError:
            self._answer(HTTPStatus.BAD_REQUEST, "that is no address")
            return False
        return True

    def do_GET(self) -> None:
        """Answer with the page."""
        asked = urlsplit(self.path)
        if reason := refuse_host(self.headers.get("Host"), port=self.server.server_port):
            self._answer(HTTPStatus.FORBIDDEN, reason)
        elif asked.path[1:] in ACTIONS:
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "press a button of the page for that", Allow="POST")
        elif asked.path != "/":
            self._answer(HTTPStatus.NOT_FOUND, "there is nothing here")
        elif reason := refuse_token(dict(parse_qsl(asked.query)).get("token", ""), self.server.token):
            self._answer(HTTPStatus.FORBIDDEN, reason)
        else:
            self._show()

    def do_POST(self) -> None:
        """Do what a button asks for, and lead back to the page."""
        host, origin = self.headers.get("Host"), self.headers.get("Origin")
        if reason := refuse_host(host, port=self.server.server_port) or refuse_origin(origin, host=host):
            self._answer(HTTPStatus.FORBIDDEN, reason)
            return
        action = urlsplit(self.path).path[1:]
        if action not in ACTIONS:
            self._answer(HTTPStatus.NOT_FOUND, "there is nothing here")
            return
        form = self._read_form()
        if form is None:
            self._answer(HTTPStatus.BAD_REQUEST, "that is no form of the page")
        elif reason := refuse_token(form.get("token", ""), self.server.token):
            self._answer(HTTPStatus.FORBIDDEN, reason)
        else:
            self._perform(action, form)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer in a sentence what is neither of these two methods, or not HTTP."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            allowed = "POST" if urlsplit(self.path).path[1:] in ACTIONS else "GET"
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "open the page, and press its buttons", Allow=allowed)
        else:
            self._answer(HTTPStatus(code), message or explain or HTTPStatus(code).phrase)

    def _perform(self, action: str, form: dict[str, str]) -> None:
        try:
            self.server.notice = perform(action, form, run=self.server.run)
        except KeyError as missing:
            self._answer(HTTPStatus.BAD_REQUEST, f"the form has no {missing}")
            return
        self._answer(HTTPStatus.SEE_OTHER, "done", Location=self.server.path)

    def _show(self) -> None:
        notice, self.server.notice = self.server.notice, None
        try:
            source = page.html(token=self.server.token, notice=notice)
        except Exception as error:
            message = message_of(error)
            if message is None:
                raise
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"the status cannot be read: {message}")
            return
        self._answer(HTTPStatus.OK, source, kind="text/html")

    def _read_form(self) -> dict[str, str] | None:
        length = self.headers.get("Content-Length", "")
        kind = self.headers.get_content_type()
        if kind != FORM or not length.isascii() or not length.isdigit() or int(length) > LONGEST_FORM:
            return None
        try:
            text = self.rfile.read(int(length)).decode("ascii")
            return dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict"))
        except ValueError:
            return None

    def _answer(self, status: HTTPStatus, text: str, *, kind: str = "text/plain", **headers: str) -> None:
        body = text.encode("utf-8", "replace")
        self.send_response(status)
        for name, value in {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": POLICY,
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "same-origin",
            "Cache-Control": "no-store",
            **headers,
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing: the address of each request holds the token."""
