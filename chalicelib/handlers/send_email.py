"""Sends one mail to one person, once, however often the job is tried."""

from typing import Any

import msgspec

from chalicelib.clock import from_ms
from chalicelib.context import RESERVE_MS, Context
from chalicelib.errors import InvalidRequestError, OutOfTimeError, PermanentError, TransientError
from chalicelib.handlers import Handler
from chalicelib.mail import emails
from chalicelib.mail.composition import Composition, compose
from chalicelib.mail.deliveries import Status
from chalicelib.mail.letter import Letter
from chalicelib.mail.mailer import Refused, Sent, Unknown
from chalicelib.mail.text import clean, plain_address
from chalicelib.outcome import Counts
from chalicelib.queue.job import Job

# A call to SES that hangs ends after its own time-outs.
TIMEOUT_SECONDS = 45
TEMPLATES = ("notice", "report")


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mail: `template` with its `content`, or `text` and `html`, of which one may be missing.

    `to` is one plain address; `name` is how a template greets.
    """

    to: str
    subject: str
    name: str = ""
    template: str | None = None
    content: dict[str, Any] = {}
    text: str | None = None
    html: str | None = None


def perform(context: Context, job: Job[Payload]) -> Counts:
    """Send the mail unless an earlier attempt did. Raises PermanentError where nobody can know whether it did."""
    to, mail = _write(context, job.payload)
    spare_ms = context.remaining_ms() - RESERVE_MS
    if not context.pace.wait(at_most_seconds=max(spare_ms, 0) / 1000):
        raise OutOfTimeError("the pace of sending leaves no time for it now")
    before = emails.begin(context.database, context.clock, job_id=job.id)
    if before is Status.SENT:
        return Counts(total=1, skipped=1)
    if before is Status.SENDING:
        raise PermanentError(
            "an earlier attempt ended in the call to SES, so it may have been sent; retry the job to send it again"
        )
    return _send(context, job.id, to, mail)


def _send(context: Context, job_id: str, to: str, mail: bytes) -> Counts:
    def settle(status: Status, **values: str) -> None:
        emails.settle(context.database, context.clock, job_id=job_id, status=status, **values)

    try:
        answer = context.mailer.send(mail, sender=context.settings.mail_from, to=to)
    except TransientError:
        settle(Status.PENDING)
        raise
    match answer:
        case Sent(provider_id):
            settle(Status.SENT, provider_id=provider_id)
            return Counts(total=1, succeeded=1)
        case Refused(reason):
            settle(Status.REFUSED, error=reason)
            raise PermanentError(f"SES refused it: {reason}")
        case Unknown(reason):
            settle(Status.UNKNOWN, error=reason)
            raise PermanentError(f"it may or may not have been sent: {reason}; retry the job to send it again")


def _write(context: Context, payload: Payload) -> tuple[str, bytes]:
    try:
        to = plain_address(payload.to)
    except ValueError as error:
        raise InvalidRequestError(f"to is {error}") from None
    if clean(payload.subject) != payload.subject or not payload.subject:
        raise InvalidRequestError("subject must be one line of text without control characters")
    settings = context.settings
    letter = Letter(
        _compose(payload, site={"site_name": settings.site_name, "site_url": settings.site_url}),
        sender_name=settings.site_name,
        sender=settings.mail_from,
        date=from_ms(context.clock.now_ms()),
    )
    # The template greets with it, and cannot see whether it is empty.
    return to, letter.address(to, {"name": clean(payload.name) or "there"})


def _compose(payload: Payload, *, site: dict[str, str]) -> Composition:
    if payload.template is None:
        if not payload.text and not payload.html:
            raise InvalidRequestError("a mail needs a template, or text, or html")
        return Composition(subject=payload.subject, text=_part(payload.text), html=_part(payload.html))
    from jinja2 import TemplateError

    if payload.text or payload.html:
        raise InvalidRequestError("a mail has a template, or text and html, not both")
    if payload.template not in TEMPLATES:
        raise InvalidRequestError(f"there is no template {payload.template[:64]!r}; there are {', '.join(TEMPLATES)}")
    try:
        return compose(payload.template, subject=payload.subject, content=site | payload.content)
    except (TemplateError, TypeError, ValueError, AttributeError) as error:
        raise InvalidRequestError(f"the template {payload.template} cannot take this content: {error}") from error


def _part(text: str | None) -> tuple[str, ...]:
    return (text,) if text else ()


HANDLER = Handler(
    type="send_email",
    payload=Payload,
    perform=perform,
    # Nearly a day: a provider's bad night.
    max_attempts=10,
    backoff_seconds=(30, 120, 600, 1800, 3600, 4 * 3600),
    timeout_seconds=TIMEOUT_SECONDS,
)
