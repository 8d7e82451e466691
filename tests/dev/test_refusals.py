"""Nobody but the page's owner gets in, and nothing changes but by the page's own forms."""

from urllib.parse import urlencode

import pytest

from nightshift.dev.actions import ACTIONS
from nightshift.dev.server import MAX_FORM, Server
from tests.dev.conftest import FORM, Visitor

PORT = "{port}"
HOSTS = [
    None,
    "",
    "127.0.0.1",
    "localhost",
    "127.0.0.1:1",
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1.evil.example:{port}",
    "localhost.evil.example:{port}",
    "[::1]:{port}",
    "0.0.0.0:{port}",
    "127.0.0.1:{port}@evil.example",
    "LOCALHOST:{port}",
]
ORIGINS = [
    None,
    "",
    "null",
    "http://evil.example",
    "http://127.0.0.1",
    "http://127.0.0.1:1",
    "https://127.0.0.1:{port}",
    "http://localhost:{port}",
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}.evil.example",
]


def with_port(text: str | None, visitor: Visitor) -> str | None:
    return None if text is None else text.replace(PORT, str(visitor.server.server_port))


def test_it_listens_to_this_machine_alone(visitor: Visitor) -> None:
    assert visitor.server.server_address[0] == "127.0.0.1"


def test_each_server_has_a_token_of_its_own_that_nobody_guesses(visitor: Visitor) -> None:
    with Server(0) as other:
        assert other.token != visitor.server.token
        assert len(other.token) >= 43


@pytest.mark.parametrize("host", HOSTS)
def test_under_another_name_nothing_is_shown_or_done(visitor: Visitor, host: str | None) -> None:
    visitor.give_up()
    before, given = visitor.state(), with_port(host, visitor)
    shown = visitor.ask("GET", visitor.server.path, Host=given)
    body = urlencode({"token": visitor.server.token, "id": "dead"})
    pressed = visitor.submit("forget", body, Host=given, Origin=f"http://{given}")
    assert (shown.status, pressed.status) == (403, 403)
    assert "send_email" not in shown.text
    assert visitor.state() == before


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_form_of_another_page_changes_nothing(visitor: Visitor, origin: str | None) -> None:
    visitor.give_up()
    before = visitor.state()
    body = urlencode({"token": visitor.server.token, "id": "dead"})
    answer = visitor.submit("forget", body, Origin=with_port(origin, visitor))
    assert (answer.status, answer.text) == (403, "only this server's own page can do this")
    assert visitor.state() == before


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_what_is_no_address_is_refused_with_a_sentence(visitor: Visitor, method: str) -> None:
    answer = visitor.ask(method, "http://[::1", Host=visitor.host)
    assert (answer.status, answer.text) == (400, "the URL is invalid")


@pytest.mark.parametrize(
    ("error", "is_told"), [(ConnectionResetError(), False), (BrokenPipeError(), False), (ValueError("odd"), True)]
)
def test_of_a_visitor_who_is_gone_in_the_middle_nothing_is_told(
    visitor: Visitor, capsys: pytest.CaptureFixture[str], error: Exception, is_told: bool
) -> None:
    try:
        raise error
    except (ConnectionError, ValueError):
        visitor.server.handle_error(None, ("127.0.0.1", 1))
    assert (type(error).__name__ in capsys.readouterr().err) == is_told


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%C3%BC", "?TOKEN={token}", "?token={token}x"])
def test_without_the_token_nothing_is_shown(visitor: Visitor, query: str) -> None:
    visitor.give_up()
    answer = visitor.ask("GET", f"/{query.replace('{token}', visitor.server.token)}", Host=visitor.host)
    assert answer.status == 403
    assert answer.text == "open the address that nightshift dev has printed, with its token"


@pytest.mark.parametrize("token", [None, "", "wrong", "ü"])
def test_without_the_token_in_its_form_nothing_is_done(visitor: Visitor, token: str | None) -> None:
    visitor.give_up()
    before = visitor.state()
    body = urlencode({"id": "dead"} | ({} if token is None else {"token": token}))
    # The one in the address does not count: a link or a history may have it.
    assert visitor.submit(f"forget?token={visitor.server.token}", body).status == 403
    assert visitor.state() == before


@pytest.mark.parametrize("action", ACTIONS)
def test_what_changes_something_cannot_be_got(visitor: Visitor, action: str) -> None:
    visitor.give_up()
    before = visitor.state()
    query = urlencode({"token": visitor.server.token, "id": "dead", "name": "daily_digest", "reason": "x"})
    answer = visitor.ask("GET", f"/{action}?{query}", Host=visitor.host)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert visitor.state() == before


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
@pytest.mark.parametrize(("action", "allowed"), [("", "GET"), ("forget", "POST")])
def test_any_other_method_is_refused_in_a_sentence(visitor: Visitor, method: str, action: str, allowed: str) -> None:
    answer = visitor.ask(method, f"/{action}?token={visitor.server.token}", Host=visitor.host)
    assert (answer.status, answer.headers["Allow"]) == (405, allowed)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text == ("" if method == "HEAD" else "open the page and use its buttons")


def test_what_is_no_request_is_refused_in_a_sentence(visitor: Visitor) -> None:
    answer = visitor.ask("GET", f"/{'x' * 70_000}", Host=visitor.host)
    assert (answer.status, answer.headers["Content-Type"]) == (414, "text/plain; charset=utf-8")
    assert "<" not in answer.text


@pytest.mark.parametrize("path", ["/index.html", "/../etc/passwd", "/favicon.ico", "/run/"])
def test_what_is_not_there_is_not_found(visitor: Visitor, path: str) -> None:
    assert visitor.ask("GET", f"{path}?token={visitor.server.token}", Host=visitor.host).status == 404
    assert visitor.submit(path[1:], f"token={visitor.server.token}").status == 404


@pytest.mark.parametrize(
    ("body", "changed"),
    [
        ("token={token}&id=dead", {"Content_Type": "text/plain"}),
        ("token={token}&id=dead", {"Content_Type": "multipart/form-data; boundary=x"}),
        ("token={token}&id=dead", {"Content_Length": None}),
        ("", {"Content_Length": "-1"}),
        ("", {"Content_Length": "²"}),
        ("", {"Content_Length": str(MAX_FORM + 1)}),
        ("token={token}&id", {}),
        ("token={token}&id=%ff", {}),
        ("token={token}", {}),
        ("", {}),
    ],
)
def test_what_is_no_form_of_the_page_changes_nothing(
    visitor: Visitor, body: str, changed: dict[str, str | None]
) -> None:
    visitor.give_up()
    before = visitor.state()
    text = body.replace("{token}", visitor.server.token)
    assert visitor.submit("forget", text, **changed).status in {400, 403}
    assert visitor.state() == before
    assert visitor.open().status == 200


def test_a_form_is_taken_with_a_charset_too(visitor: Visitor) -> None:
    visitor.give_up()
    body = urlencode({"token": visitor.server.token, "id": "dead"})
    assert visitor.submit("forget", body, Content_Type=f"{FORM}; charset=UTF-8").status == 303


def test_no_page_may_frame_it_keep_it_or_learn_its_address(visitor: Visitor) -> None:
    for answer in (visitor.open(), visitor.press("retry", id="nobody"), visitor.ask("GET", "/", Host="evil.example")):
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        # Browsers send a cookie to every port of a machine.
        assert answer.headers["Set-Cookie"] is None


def test_no_request_is_logged_since_its_address_holds_the_token(
    visitor: Visitor, capfd: pytest.CaptureFixture[str]
) -> None:
    visitor.open()
    visitor.ask("GET", "/?token=wrong", Host=visitor.host)
    assert visitor.server.token not in "".join(capfd.readouterr())
