"""The page behind the link of each mail, and what its button and mail clients post to, as RFC 8058 has it."""

import html
import re
from base64 import b64encode
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Any

from chalice.app import Response

from chalicelib.core.attempt import attempt
from chalicelib.core.context import Context
from chalicelib.core.errors import Skipped
from chalicelib.core.outcome import Counts, Outcome
from chalicelib.core.telemetry import bound, report
from chalicelib.mail import subscriptions, unsubscribe

MAILING = "daily_digest"
# RFC 8058's field in a form, and in multipart, which the RFC prefers. Not every mail client keeps to its letters.
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
LONGEST_BODY = 10_000
BUTTON = """<form method="post">
<input type="hidden" name="List-Unsubscribe" value="One-Click">
<button>Unsubscribe</button>
</form>"""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What a page says, and whether it has the button."""

    status: int
    title: str
    text: str
    note: str
    button: str = ""


ASKING = Page(
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
UNKNOWN = Page(
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
# By how the attempt to unsubscribe ended.
PAGES = {
    Outcome.SUCCEEDED: DONE,
    Outcome.SKIPPED: UNKNOWN,
    Outcome.DEAD: FAILED,
}


def answer(request: Any, context: Context) -> Response:
    """Answer a request of Chalice's: unsubscribe for a POST with `List-Unsubscribe=One-Click`, else show what would.

    A GET changes nothing, since scanners of mails follow links. Users who are subscribed, who are not and who have
    left get the same answer. Only a link that we signed is answered with success.
    """
    if request.method != "POST":
        return _show(ASKING, context)
    body = request.raw_body
    if len(body) > LONGEST_BODY or not ONE_CLICK.search(body):
        # A mail client must not take the question for the answer.
        return _show(replace(ASKING, status=400), context)
    token = (request.query_params or {}).get("token", "")
    with bound(request_id=context.request_id):
        # Nobody but the reader can try again, so each failure raises the alarm of what was given up.
        ended = attempt(lambda: _unsubscribe(context, token), clock=context.clock, last=True)
        report("run", "unsubscribe", ended)
    return _show(PAGES[ended.outcome], context)


def _unsubscribe(context: Context, token: str) -> Counts:
    user_id, mailing = _verify(context, token) or ("", "")
    if mailing != MAILING:
        raise Skipped("none of UNSUBSCRIBE_SECRETS has signed this link for this mailing")
    is_out = context.database.transact(lambda connection: subscriptions.end(connection, user_id))
    return Counts(total=1, succeeded=int(is_out), skipped=int(not is_out))


def _verify(context: Context, token: str) -> tuple[str, str] | None:
    found = unsubscribe.verify(token, secrets=context.unsubscribe_secrets)
    # This process may have read the secrets before they were rotated.
    return found or unsubscribe.verify(token, secrets=context.rotated_unsubscribe_secrets())


def _show(page: Page, context: Context) -> Response:
    settings = context.settings
    values = {"site_name": html.escape(settings.site_name), "site_url": html.escape(settings.site_url)}
    text = Template(page.text).substitute(values)
    body = _template().substitute(values, title=page.title, text=text, note=page.note, button=page.button)
    return Response(body, headers=_headers(), status_code=page.status)


@cache
def _template() -> Template:
    return Template((Path(__file__).parent / "templates" / "unsubscribe.html").read_text(encoding="utf-8"))


@cache
def _headers() -> dict[str, Any]:
    _, _, rest = _template().template.partition("<style>")
    style = b64encode(sha256(rest.partition("</style>")[0].encode()).digest()).decode()
    policy = ("default-src 'none'", f"style-src 'sha256-{style}'", "form-action 'self'", "base-uri 'none'")
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join([*policy, "frame-ancestors 'none'"]),
        "Cache-Control": "no-store",
        # The address of the page holds the token.
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }
