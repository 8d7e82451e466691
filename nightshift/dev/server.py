"""The status page with buttons, on this machine only, for those who know its token."""

import hmac
import sys
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import parse_qsl, quote, urlsplit

from chalicelib.core.context import from_lambda
from chalicelib.operate.status.page import content, environment
from chalicelib.operate.status.status import read
from chalicelib.queue.handler import known_types
from nightshift.cli.output import message_of
from nightshift.cli.requests import project_parts, project_schedules, run
from nightshift.dev.actions import ACTIONS, Run, perform
from nightshift.local.invocation import LocalContext

TEMPLATES = Path(__file__).parent / "templates"
# A page of another site can resolve its own name to this machine, so only the Host header identifies this page; the
# Origin header identifies forms that other sites send here. Cookies would not: they are shared by all ports.
HOSTS = ("127.0.0.1", "localhost")
MAX_FORM = 8192
FORM = "application/x-www-form-urlencoded"
# The page's own policy, and no embedding: another page could trick the user into pressing buttons.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"


class Server(ThreadingHTTPServer):
    """Listens on the loopback interface. Port 0 is any free port."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.token = token_urlsafe(32)
        # Runs a task: in this process, unless replaced.
        self.run: Run = partial(run, None)
        # The result of the last action, for the next page.
        self.notice: str | None = None

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that disconnects."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        return f"http://127.0.0.1:{self.server_port}{self.path}"

    @property
    def path(self) -> str:
        """The path of the page, with its token."""
        return f"/?token={quote(self.token)}"


class Handler(BaseHTTPRequestHandler):
    """A request."""

    server: Server
    server_version, sys_version = "nightshift", ""
    timeout = 10

    def parse_request(self) -> bool:
        """Read the head of the request, and reject an invalid URL."""
        if not super().parse_request():
            return False
        try:
            urlsplit(self.path)
        except ValueError:
            self._answer(HTTPStatus.BAD_REQUEST, "the URL is invalid")
            return False
        return True

    def do_GET(self) -> None:
        """Answer with the page."""
        url = urlsplit(self.path)
        if not self._check_host():
            return
        if url.path[1:] in ACTIONS:
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "use the buttons of the page", Allow="POST")
        elif url.path != "/":
            self._answer(HTTPStatus.NOT_FOUND, "not found")
        elif self._check_token(dict(parse_qsl(url.query))):
            self._show()

    def do_POST(self) -> None:
        """Perform the action of a button, and redirect to the page."""
        if not self._check_host():
            return
        action = urlsplit(self.path).path[1:]
        if self.headers.get("Origin") != f"http://{self.headers.get('Host')}":
            self._answer(HTTPStatus.FORBIDDEN, "only this server's own page can do this")
        elif action not in ACTIONS:
            self._answer(HTTPStatus.NOT_FOUND, "not found")
        elif (form := self._read_form()) is None:
            self._answer(HTTPStatus.BAD_REQUEST, "the form is invalid")
        elif self._check_token(form):
            self._perform(action, form)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer any other method, or invalid HTTP, in one sentence."""
        if code == HTTPStatus.NOT_IMPLEMENTED:
            allowed = "POST" if urlsplit(self.path).path[1:] in ACTIONS else "GET"
            self._answer(HTTPStatus.METHOD_NOT_ALLOWED, "open the page and use its buttons", Allow=allowed)
        else:
            self._answer(HTTPStatus(code), message or explain or HTTPStatus(code).phrase)

    def _check_host(self) -> bool:
        if self.headers.get("Host") in {f"{name}:{self.server.server_port}" for name in HOSTS}:
            return True
        self._answer(HTTPStatus.FORBIDDEN, "this server is available as 127.0.0.1 only")
        return False

    def _check_token(self, fields: dict[str, str]) -> bool:
        if hmac.compare_digest(fields.get("token", "").encode(), self.server.token.encode()):
            return True
        self._answer(HTTPStatus.FORBIDDEN, "open the address that nightshift dev has printed, with its token")
        return False

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
            source = _html(token=self.server.token, notice=notice)
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
        if kind != FORM or not length.isascii() or not length.isdigit() or int(length) > MAX_FORM:
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
        """Log nothing: each URL contains the token."""


def _html(*, token: str, notice: str | None) -> str:
    context = from_lambda(LocalContext(function_name="dev"), patience_ms=0)
    parts = project_parts()
    status = read(context, project_schedules(), parts)
    place = context.database.engine.url.render_as_string(hide_password=True)
    live = {"token": token, "notice": notice, "types": known_types(), "place": place}
    return environment(parts, TEMPLATES).get_template("live.html.j2").render(content(status, parts) | live)
