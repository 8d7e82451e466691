"""The unsubscribe page: who is opted out, and that its answers reveal nothing."""

import base64
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import delete, event, select, update
from sqlalchemy.exc import OperationalError

import app
from chalicelib.application import users
from chalicelib.core import secrets
from chalicelib.mail import unsubscribe
from chalicelib.mail.unsubscribe import BUTTON
from nightshift.local.invocation import LocalContext
from tests.tasks.monthly_report.samples import Page
from tests.world import World

ROOT = Path(__file__).parent.parent.parent
FORM = "application/x-www-form-urlencoded"
ONE_CLICK = "List-Unsubscribe=One-Click"
MULTIPART = '--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n'

Log = Callable[[], list[dict[str, Any]]]
Answer = dict[str, Any]


@pytest.fixture
def route(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The application as Lambda loads it where the route is switched on."""
    monkeypatch.setenv("UNSUBSCRIBE_ROUTE", "on")
    return load()


def load() -> Any:
    spec = importlib.util.spec_from_file_location("app_as_deployed", ROOT / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def request(
    route: Any,
    method: str,
    *tokens: str | None,
    body: str | None = None,
    content_type: str | None = None,
    is_base64: bool = False,
) -> Answer:
    """Send a request as API Gateway does, and return its answer; None sends no token."""
    found = [token for token in tokens if token is not None]
    headers = {"Accept": "*/*"} | ({} if content_type is None else {"Content-Type": content_type})
    proxied = {
        "resource": "/unsubscribe",
        "path": "/unsubscribe",
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {"token": found[-1]} if found else None,
        "multiValueQueryStringParameters": {"token": found} if found else None,
        "pathParameters": None,
        "stageVariables": None,
        "requestContext": {"resourcePath": "/unsubscribe", "httpMethod": method, "path": "/api/unsubscribe"},
        "body": body,
        "isBase64Encoded": is_base64,
    }
    answer: Answer = json.loads(json.dumps(route(json.loads(json.dumps(proxied)), LocalContext(function_name="api"))))
    return answer


def press(route: Any, *tokens: str | None, **changed: Any) -> Answer:
    return request(route, "POST", *tokens, **{"body": ONE_CLICK, "content_type": FORM} | changed)


def token_of(world: World, user_id: str, mailing: str = "daily_digest") -> str:
    return unsubscribe.sign(user_id, mailing, secrets=unsubscribe.unsubscribe_secrets(world.context()))


def wanting(world: World) -> set[str]:
    return {row.id for row in world.execute(select(users.c.id).where(users.c.email_digest.is_(True)))}


def title(answer: Answer) -> str:
    (found,) = re.findall("<h1>(.*)</h1>", answer["body"])
    return str(found)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, ONE_CLICK),
        (f"{FORM}; charset=UTF-8", ONE_CLICK),
        (FORM.upper(), f"a=b&{ONE_CLICK}"),
        ("multipart/form-data; boundary=x", MULTIPART),
        (
            "multipart/form-data; boundary=x",
            MULTIPART.replace("\r\n\r\nOne", "\r\nContent-Type: text/plain\r\n\r\nOne"),
        ),
        (FORM, ONE_CLICK.lower()),
        (FORM, f"{ONE_CLICK}\r\n"),
        ("multipart/form-data; boundary=x", MULTIPART.replace('"', "")),
        ("multipart/form-data; boundary=x", MULTIPART.lower()),
        ("multipart/form-data; boundary=x", MULTIPART.replace("\r", "")),
        (None, ONE_CLICK),
    ],
)
def test_one_click_unsubscribes_only_this_user(world: World, route: Any, content_type: str | None, body: str) -> None:
    one, other = world.add_users(2)
    before = {row.id: row._asdict() for row in world.execute(select(users))}
    answer = press(route, token_of(world, one), content_type=content_type, body=body)
    assert (answer["statusCode"], title(answer)) == (200, "You are unsubscribed")
    before[one]["email_digest"] = False
    assert {row.id: row._asdict() for row in world.execute(select(users))} == before
    assert wanting(world) == {other}


def test_base64_body_is_read(world: World, route: Any) -> None:
    (user,) = world.add_users(1)
    press(route, token_of(world, user), body=base64.b64encode(ONE_CLICK.encode()).decode(), is_base64=True)
    assert wanting(world) == set()


def test_link_in_mail_shows_page_with_working_button(world: World, route: Any) -> None:
    world.add_users(1)
    world.add_posts("Hello")
    world.fire()
    world.drain()
    link = re.search(r"List-Unsubscribe: <[^>]*\?token=([^>]+)>", world.aws.sent()[0].content.decode())
    assert link is not None
    page = request(route, "GET", link[1])
    assert title(page) == "Unsubscribe from the daily digest?"
    form = Form(page["body"])
    # Without an action, a form goes to the address of its page, and so the token is in it.
    assert form.attributes == [{"method": "post"}]
    press(route, link[1], body=urlencode(form.fields))
    assert wanting(world) == set()


def test_get_changes_nothing(world: World, route: Any) -> None:
    (user,) = world.add_users(1)
    for _ in range(3):
        answer = request(route, "GET", token_of(world, user), content_type=FORM)
        assert (answer["statusCode"], title(answer)) == (200, "Unsubscribe from the daily digest?")
    assert wanting(world) == {user}


@pytest.mark.parametrize("content_type", [None, FORM, "text/html", "*/*"])
def test_get_with_body_changes_nothing(world: World, route: Any, content_type: str | None) -> None:
    (user,) = world.add_users(1)
    request(route, "GET", token_of(world, user), body=ONE_CLICK, content_type=content_type)
    assert wanting(world) == {user}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "List-Unsubscribe",
        "List-Unsubscribe=",
        "List-Unsubscribe=Yes",
        "List-Unsubscribe=One-Clicks",
        "Not-List-Unsubscriber=One-Click",
        "One-Click",
        '{"List-Unsubscribe": "One-Click"}',
        "Not-List-Unsubscribe=One-Click",
        "List-Unsubscribe=One-Click-Not",
        MULTIPART.replace("One-Click", "One-Click-Not"),
        '--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nno\r\n--x--\r\nOne-Click',
        "x" * 100_000 + ONE_CLICK,
        "List-Unsubscribe" * 600,
        'name="List-Unsubscribe"\r\n' + "a\r\n" * 3000,
    ],
    ids=lambda body: ascii(body)[:40],
)
@pytest.mark.parametrize("content_type", [FORM, "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_post_without_one_click_changes_nothing(world: World, route: Any, body: str, content_type: str) -> None:
    (user,) = world.add_users(1)
    answer = press(route, token_of(world, user), body=body, content_type=content_type)
    # A mail client takes a 200 for a success.
    assert (answer["statusCode"], title(answer)) == (400, "Unsubscribe from the daily digest?")
    assert wanting(world) == {user}


def tokens(world: World) -> dict[str, str]:
    """Return tokens that are signed for the digest: of a subscribed user, and of others."""
    known, gone, out = world.add_users(3)
    world.execute(delete(users).where(users.c.id == gone))
    world.execute(update(users).where(users.c.id == out).values(email_digest=False))
    return {
        "known": token_of(world, known),
        "of a user who has left": token_of(world, gone),
        "of a user who is out": token_of(world, out),
        "of a user in capitals": token_of(world, known.upper()),
        "of no user": token_of(world, ""),
        "of everybody": token_of(world, "%"),
    }


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_signed_tokens_get_same_answer_whether_user_exists(world: World, route: Any, method: str) -> None:
    candidates = tokens(world)
    known = candidates.pop("known")
    before = world.execute(select(users))
    answers = [
        request(route, method, token, body=ONE_CLICK if method == "POST" else None, content_type=FORM)
        for token in candidates.values()
    ]
    assert world.execute(select(users)) == before
    expected = request(route, method, known, body=ONE_CLICK if method == "POST" else None, content_type=FORM)
    assert [answer for answer in answers if answer != expected] == []
    assert len(wanting(world)) == (0 if method == "POST" else 1)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_token_for_other_mailing_fails(world: World, route: Any) -> None:
    (user,) = world.add_users(1)
    good = token_of(world, user)
    candidates: dict[str, str | None] = {
        "forged": unsubscribe.sign(user, "daily_digest", secrets=["x" * 32]),
        "of another mailing": token_of(world, user, "weekly_digest"),
        "cut short": good[:-5],
        "no token": "'; DROP TABLE users; --",
        "markup": '"><script>alert(1)</script>',
        "in letters": "é🐙\u202e",
        "half a letter": "\ud800",
        "long": "A" * 8000,
        "empty": "",
        "absent": None,
    }
    answers = {name: press(route, token) for name, token in candidates.items()}
    assert {(answer["statusCode"], title(answer)) for answer in answers.values()} == {(400, "This link does not work")}
    # The answers are equal, so they reveal nothing.
    assert [answer for answer in answers.values() if answer != answers["forged"]] == []
    assert wanting(world) == {user}


def test_unsubscribing_twice_gets_same_answer(world: World, route: Any) -> None:
    (user,) = world.add_users(1)
    first, again = (press(route, token_of(world, user)) for _ in range(2))
    assert first == again
    assert wanting(world) == set()


def test_only_one_token_of_a_query_counts(world: World, route: Any) -> None:
    one, other = world.add_users(2)
    press(route, token_of(world, one), token_of(world, other))
    assert wanting(world) == {one}


def test_older_secret_works_while_kept(world: World, route: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (user,) = world.add_users(1)
    token = token_of(world, user)
    monkeypatch.setenv("UNSUBSCRIBE_SECRETS", "n" * 32)
    assert press(route, token)["statusCode"] == 400
    assert wanting(world) == {user}
    monkeypatch.setenv("UNSUBSCRIBE_SECRETS", f"{'n' * 32},{world.environment['UNSUBSCRIBE_SECRETS']}")
    press(route, token)
    assert wanting(world) == set()


@pytest.fixture
def rotating(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Keep the secret of the links in Secrets Manager, and return what rotates it."""
    secrets.forget()
    manager = world.aws.client("secretsmanager")
    arn = manager.create_secret(Name="links", SecretString="o" * 32)["ARN"]
    world.configure(unsubscribe_secrets=arn)
    monkeypatch.setenv("UNSUBSCRIBE_SECRETS", arn)
    yield lambda text: manager.put_secret_value(SecretId=arn, SecretString=text)
    secrets.forget()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_warm_route_verifies_new_link_after_rotation(world: World, route: Any, rotating: Callable[[str], None]) -> None:
    one, other = world.add_users(2)
    press(route, token_of(world, one))
    assert wanting(world) == {other}
    rotating(f"{'n' * 32},{'o' * 32}")
    new = unsubscribe.sign(other, "daily_digest", secrets=["n" * 32])
    answer = press(route, new)
    assert (answer["statusCode"], title(answer), wanting(world)) == (200, "You are unsubscribed", set())


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_link_fails_visibly_while_rotated_secret_cannot_be_read(
    world: World, route: Any, rotating: Callable[[str], None]
) -> None:
    one, other = world.add_users(2)
    press(route, token_of(world, one))
    rotating("too short")
    answer = press(route, unsubscribe.sign(other, "daily_digest", secrets=["n" * 32]))
    assert (answer["statusCode"], title(answer)) == (503, "That did not work just now")
    assert wanting(world) == {other}
    # A token that the secrets in memory verify needs no rotated ones.
    assert press(route, token_of(world, other))["statusCode"] == 200
    assert wanting(world) == set()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_forged_links_ask_for_the_secret_once_a_minute(
    world: World, rotating: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    read = secrets._read

    def note(arn: str) -> str:
        asked.append(arn)
        return read(arn)

    monkeypatch.setattr(secrets, "_read", note)

    def forge() -> None:
        pressed = SimpleNamespace(method="POST", query_params={"token": "forged"}, raw_body=ONE_CLICK.encode())
        assert unsubscribe.respond(pressed, world.context()).status_code == 400

    for _ in range(5):
        forge()
    assert len(asked) == 2
    world.clock.advance(60)
    forge()
    forge()
    assert len(asked) == 3


PAGES: dict[str, Callable[[Any, str], Answer]] = {
    "asking": lambda route, token: request(route, "GET", token),
    "done": press,
    "unknown": lambda route, token: press(route, token[:-1]),
}


@contextmanager
def database_gone(world: World) -> Iterator[None]:
    """Make every statement fail, as if the server had gone."""
    engine = world.context().database.engine

    def refuse(*_: Any) -> None:
        raise OperationalError("any", {}, Exception(1045, "Access denied"))

    event.listen(engine, "before_cursor_execute", refuse)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", refuse)


def test_database_outage_shows_error_and_button(world: World, route: Any, log: Log) -> None:
    (user,) = world.add_users(1)
    token = token_of(world, user)
    with database_gone(world):
        answer = press(route, token)
        # A GET does not need the database.
        assert request(route, "GET", token)["statusCode"] == 200
    assert (answer["statusCode"], title(answer)) == (503, "That did not work just now")
    assert BUTTON in answer["body"]
    summary = log()[0]
    # Only the reader can retry, so the alarm is raised.
    assert (summary["task"], summary["outcome"]) == ("unsubscribe", "dead")
    assert wanting(world) == {user}
    assert press(route, token)["statusCode"] == 200
    assert wanting(world) == set()


def test_summary_line_does_not_hold_the_token(world: World, route: Any, log: Log) -> None:
    (user,) = world.add_users(1)
    token = token_of(world, user)
    press(route, token)
    press(route, token)
    press(route, "forged")
    lines = log()
    summaries = [line for line in lines if line.get("task") == "unsubscribe" and "outcome" in line]
    assert [(line["outcome"], line["succeeded"], line["skipped"]) for line in summaries] == [
        ("succeeded", 1, 0),
        ("succeeded", 0, 1),
        ("skipped", 0, 0),
    ]
    assert summaries[-1]["reason"] == "none of UNSUBSCRIBE_SECRETS has signed this link for this mailing"
    assert token not in json.dumps(lines)


@pytest.mark.parametrize("page", PAGES)
def test_page_loads_nothing_and_leaks_no_url(world: World, route: Any, page: str) -> None:
    (user,) = world.add_users(1)
    token = token_of(world, user)
    answer = PAGES[page](route, token)
    headers = {name.lower(): value for name, value in answer["headers"].items()}
    assert answer["statusCode"] == (400 if page == "unknown" else 200)
    assert not answer["multiValueHeaders"]
    assert set(headers) == {
        "content-type",
        "content-security-policy",
        "cache-control",
        "referrer-policy",
        "x-content-type-options",
        "x-robots-tag",
    }
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    body = answer["body"]
    assert token not in body
    assert not re.search(r"<(script|img|link|iframe|object)|\bon\w+=|style=|url\(|@import|http-equiv", body)
    assert re.findall(r'(?:href|src|action)="([^"]*)"', body) == ["https://slow-harbour.example"]


@pytest.mark.parametrize("page", PAGES)
def test_content_security_policy_allows_only_own_style_and_form(world: World, route: Any, page: str) -> None:
    answer = PAGES[page](route, "token")
    (style,) = re.findall("<style>(.*?)</style>", answer["body"], re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = dict(rule.split(" ", 1) for rule in answer["headers"]["Content-Security-Policy"].split("; "))
    assert rules == {
        "default-src": "'none'",
        "style-src": f"'sha256-{digest}'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "A & B", '"><b>', "$title ${button} $$", "שלום"])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("page", ["asking", "done"])
def test_site_name_is_never_markup_or_placeholder(
    world: World, route: Any, page: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = token_of(world, "user-1")
    plain = Page(PAGES[page](route, token)["body"])
    monkeypatch.setenv("SITE_NAME", name)
    named = Page(PAGES[page](route, token)["body"])
    # In the title, as the link to the site, and in the sentence.
    assert named.text == plain.text.replace("Slow Harbour", name)
    assert named.text.count(name) == 3
    assert (named.tags, named.attributes) == (plain.tags, plain.attributes)


def test_other_methods_are_refused(world: World, route: Any) -> None:
    (user,) = world.add_users(1)
    for method in ("PUT", "DELETE", "HEAD"):
        assert request(route, method, token_of(world, user), body=ONE_CLICK, content_type=FORM)["statusCode"] == 405
    assert wanting(world) == {user}


def test_route_is_added_only_if_switched_on(route: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {path: set(methods) for path, methods in route.routes.items()} == {"/unsubscribe": {"GET", "POST"}}
    for value in ("", "off", "no", "0"):
        monkeypatch.setenv("UNSUBSCRIBE_ROUTE", value)
        assert load().routes == {}
    assert app.app.routes == {}


LOOK = """
import os, sys
from chalice.cli.factory import CLIFactory
from chalice.deploy.appgraph import ApplicationGraphBuilder
config = CLIFactory(sys.argv[1], environ=os.environ).create_config_obj(chalice_stage_name="dev")
built = ApplicationGraphBuilder().build(config, "dev")
print(sorted({type(resource).__name__ for resource in built.resources}))
"""


@pytest.mark.parametrize("switch", [{}, {"UNSUBSCRIBE_ROUTE": "on"}], ids=["off", "on"])
def test_chalice_deploys_api_only_if_route_is_on(tmp_path: Path, switch: Mapping[str, str]) -> None:
    (tmp_path / ".chalice").mkdir()
    (tmp_path / "app.py").symlink_to(ROOT / "app.py")
    configuration = json.loads((ROOT / ".chalice" / "config.json").read_text())
    configuration["stages"]["dev"]["environment_variables"] |= switch
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(configuration))
    looked = subprocess.run(
        [sys.executable, "-P", "-c", LOOK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert ("RestAPI" in looked.stdout) == bool(switch)
    assert "LambdaFunction" in looked.stdout


class Form(HTMLParser):
    """The forms of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.attributes: list[dict[str, str | None]] = []
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "form":
            self.attributes.append(values)
        if tag == "input":
            self.fields[str(values["name"])] = str(values["value"])
