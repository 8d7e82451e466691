"""Unsubscribing, as RFC 8058 defines it: the signed link in each mail, its page, and what its button posts.

Opting out clears `users.email_digest`, the one column of the application's tables that Nightshift writes.
"""

import base64
import hashlib
import hmac
import html
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from chalice.app import Response
from sqlalchemy import Connection, select

from chalicelib import application
from chalicelib.application import users
from chalicelib.core import secrets
from chalicelib.core.attempt import attempt
from chalicelib.core.config import read_secrets
from chalicelib.core.context import Context, service
from chalicelib.core.errors import ConfigurationError, Skipped
from chalicelib.core.outcome import Counts, Outcome
from chalicelib.core.telemetry import bound, report
from chalicelib.mail.settings import MailSettings
from chalicelib.mail.suppressions import is_same_address

MAILING = "daily_digest"
SIGNATURE_BYTES = 16
# RFC 8058's field in a form, and in multipart, which the RFC prefers. Some mail clients deviate from its letters.
ONE_CLICK = re.compile(
    rb"""
    (?:\A|[&;]) \s* List-Unsubscribe = One-Click \s* (?:[&;]|\Z)
    | \bname = "?List-Unsubscribe\b [^\r\n]*+ \r?\n
      (?:[^\r\n]++ \r?\n){0,9}
      \r?\n One-Click \s* (?:\n|\Z)
    """,
    re.IGNORECASE | re.VERBOSE,
)
# A longer body is not searched.
MAX_BODY = 10_000
BUTTON = """<form method="post">
<input type="hidden" name="List-Unsubscribe" value="One-Click">
<button>Unsubscribe</button>
</form>"""


def link(base_url: str, token: str) -> str:
    """Return the URL that a recipient opens, or a mail client posts to."""
    parts = urlsplit(base_url)
    query = f"{parts.query}&" if parts.query else ""
    return urlunsplit(parts._replace(query=f"{query}{urlencode({'token': token})}"))


def link_for(context: Context, user_id: str) -> str:
    """Return the URL with which this user leaves the digest."""
    token = sign(user_id, MAILING, secrets=unsubscribe_secrets(context))
    return link(context.settings(MailSettings).unsubscribe_url, token)


def sign(user_id: str, mailing: str, *, secrets: Sequence[str]) -> str:
    """Return the token with which this user leaves this mailing, signed with the first of the secrets."""
    subject = f"{mailing}\n{user_id}".encode()
    return _encode(_signature(secrets[0], subject) + subject)


def verify(token: str, *, secrets: Sequence[str]) -> tuple[str, str] | None:
    """Return (user id, mailing) of a token signed with any of the secrets, None for every other text.

    Tokens never expire: a person may unsubscribe from an old mail. To change the secret, put the new one first.
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    if _encode(raw) != token:
        # Base64 has several spellings of the same bytes; only one is a token.
        return None
    signature, subject = raw[:SIGNATURE_BYTES], raw[SIGNATURE_BYTES:]
    if not any(hmac.compare_digest(signature, _signature(secret, subject)) for secret in secrets):
        return None
    mailing, _, user_id = subject.decode().partition("\n")
    return user_id, mailing


def _signature(secret: str, subject: bytes) -> bytes:
    return hmac.digest(secret.encode(), b"unsubscribe\n" + subject, hashlib.sha256)[:SIGNATURE_BYTES]


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@service
def unsubscribe_secrets(context: Context) -> tuple[str, ...]:
    """Return the secrets of unsubscribe links: the first signs, all verify."""
    return _read_secrets(secrets.resolve(context.settings(MailSettings).unsubscribe_secrets))


def _read_secrets(text: str) -> tuple[str, ...]:
    try:
        return read_secrets(text)
    except ValueError as error:
        raise ConfigurationError(f"what UNSUBSCRIBE_SECRETS refers to {error}") from None


def opt_out(connection: Connection, user_id: str) -> bool:
    """Opt a user out, and return whether there is one who was subscribed."""
    # A collation finds other spellings of an id too, and a token names one user.
    found = connection.execute(select(users.c.id).where(users.c.id == user_id)).scalars()
    return application.opt_out(connection, [id_ for id_ in found if id_ == user_id]) == 1


def opt_out_address(connection: Connection, address: str, *, spellings: Collection[str]) -> int:
    """Opt out the users who have this address in one of its spellings, and return how many were subscribed."""
    # A mail goes to a domain in ASCII; the application may have stored it in its own script.
    stored = {*spellings, *map(_with_unicode_domain, spellings)}
    found = connection.execute(select(users.c.id, users.c.email).where(users.c.email.in_(stored)))
    # A collation also finds other people's addresses, which differ by an accent.
    return application.opt_out(connection, [row.id for row in found if is_same_address(row.email, address)])


def _with_unicode_domain(address: str) -> str:
    local, _, domain = address.rpartition("@")
    try:
        return f"{local}@{domain.encode().decode('idna')}"
    except UnicodeError:
        return address


@dataclass(frozen=True, kw_only=True)
class Page:
    """The text of a page, and its button if it has one."""

    status: int
    title: str
    text: str
    note: str
    button: str = ""


QUESTION = Page(
    status=200,
    title="Unsubscribe from the daily digest?",
    text="$site_name will mail you no more digests.",
    note="Nothing changes until you press the button.",
    button=BUTTON,
)
DONE = Page(
    status=200,
    title="You are unsubscribed",
    text="$site_name mails you no more digests. One that is on its way may still arrive.",
    note="If others follow, use the link in the latest.",
)
INVALID_LINK = Page(
    status=400,
    title="This link does not work",
    text="It may have been cut short, or it is no longer valid. Please use the link in the latest digest.",
    note="Nothing has changed.",
)
FAILED = Page(
    status=503,
    title="That did not work just now",
    text="Please try again in a few minutes.",
    note="The link stays valid.",
    button=BUTTON,
)
PAGES = {Outcome.SUCCEEDED: DONE, Outcome.SKIPPED: INVALID_LINK, Outcome.DEAD: FAILED}


def respond(request: Any, context: Context) -> Response:
    """Answer a request of Chalice's: unsubscribe for a POST with `List-Unsubscribe=One-Click`, else show the question.

    A GET changes nothing, because mail scanners follow links. The answer does not reveal whether the user is
    subscribed or exists. Only a link that we signed is answered with success.
    """
    if request.method != "POST":
        return _show(QUESTION, context)
    body = request.raw_body
    if len(body) > MAX_BODY or not ONE_CLICK.search(body):
        # A mail client takes a 200 for success.
        return _show(replace(QUESTION, status=400), context)
    token = (request.query_params or {}).get("token", "")
    with bound(request_id=context.request_id):
        # The last attempt: only the reader can retry, so each failure raises the alarm for dead work.
        ended = attempt(lambda: _unsubscribe(context, token), clock=context.clock, last=True)
        report("run", "unsubscribe", ended)
    return _show(PAGES[ended.outcome], context)


def _unsubscribe(context: Context, token: str) -> Counts:
    verified = verify(token, secrets=unsubscribe_secrets(context))
    if verified is None:
        # This process may have read the secrets before they were rotated.
        reference = context.settings(MailSettings).unsubscribe_secrets
        rotated = _read_secrets(secrets.resolve_again(reference, now_ms=context.clock.now_ms()))
        verified = verify(token, secrets=rotated)
    user_id, mailing = verified or ("", "")
    if mailing != MAILING:
        raise Skipped("none of UNSUBSCRIBE_SECRETS has signed this link for this mailing")
    was_subscribed = context.database.transact(lambda connection: opt_out(connection, user_id))
    return Counts(total=1, succeeded=int(was_subscribed), skipped=int(not was_subscribed))


def _show(page: Page, context: Context) -> Response:
    settings = context.settings(MailSettings)
    values = {"site_name": html.escape(settings.site_name), "site_url": html.escape(settings.site_url)}
    text = Template(page.text).substitute(values)
    body = _template().substitute(values, title=page.title, text=text, note=page.note, button=page.button)
    return Response(body, headers=_headers(), status_code=page.status)


@cache
def _template() -> Template:
    # Not Jinja, whose import would make each answer slower.
    return Template((Path(__file__).parent / "templates" / "unsubscribe.html").read_text(encoding="utf-8"))


@cache
def _headers() -> dict[str, Any]:
    _, _, rest = _template().template.partition("<style>")
    style = base64.b64encode(hashlib.sha256(rest.partition("</style>")[0].encode()).digest()).decode()
    policy = ("default-src 'none'", f"style-src 'sha256-{style}'", "form-action 'self'", "base-uri 'none'")
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join([*policy, "frame-ancestors 'none'"]),
        "Cache-Control": "no-store",
        # The URL of the page holds the token.
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }
