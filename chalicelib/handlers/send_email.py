"""Sends one mail to one person, at most once, however often the job is retried."""

from typing import Annotated, Any

import msgspec

from chalicelib.api import (
    Context,
    Counts,
    InvalidRequestError,
    Job,
    OutOfTimeError,
    PermanentError,
    TransientError,
    handler,
    logger,
)
from chalicelib.core.clock import from_ms
from chalicelib.core.context import RESERVE_MS
from chalicelib.core.text import clean, plain_address
from chalicelib.mail import suppressions
from chalicelib.mail.ledger import Status, claim_email, move_email
from chalicelib.mail.letter import Composition, MimeMail, compose
from chalicelib.mail.pace import pace
from chalicelib.mail.ses import Refused, Sent, Unknown, mailer
from chalicelib.mail.settings import MailSettings
from chalicelib.tasks.monthly_report.figures import TopPost
from chalicelib.tasks.monthly_report.page import Card

TIMEOUT_SECONDS = 60
# A call to SES that hangs ends after its own time-outs. If it were interrupted earlier, its mail would be unknown.
CALL_MS = 35_000
MAX_SUBJECT = 998
# The reason must fit into a log line.
MAX_REASON = 300

Web = Annotated[str, msgspec.Meta(pattern="^https?://")]


class Action(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The button of a notice."""

    label: Annotated[str, msgspec.Meta(min_length=1)]
    url: Web


class NoticeContent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of the template `notice`."""

    paragraphs: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    action: Action | None = None


class ReportContent(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the template `report`, as chalicelib.tasks.monthly_report.page makes it."""

    month: str
    link: Web
    cards: tuple[Card, ...]
    posts: tuple[TopPost, ...]


# Validated here: a template alone would render a text as a list of letters, and any address as a link.
CONTENTS: dict[str, type[NoticeContent | ReportContent]] = {"notice": NoticeContent, "report": ReportContent}


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mail: `template` with its `content`, or `text` and `html`, of which one may be missing.

    `to` is one plain address; a template greets `name`.
    """

    to: str
    subject: str
    name: str = ""
    template: str | None = None
    content: dict[str, Any] = {}
    text: str | None = None
    html: str | None = None


@handler(
    # Nearly a day: a long outage of the provider.
    max_attempts=10,
    backoff_seconds=(30, 120, 600, 1800, 3600, 4 * 3600),
    timeout_seconds=TIMEOUT_SECONDS,
)
def send_email(context: Context, job: Job[Payload]) -> Counts:
    """Send the mail; skip it if an earlier attempt sent it or its address is suppressed.

    Raises PermanentError if it is unknown whether an earlier attempt sent it.
    """
    to, mail = _encode(context, job.payload)
    spare_ms = min(context.remaining_ms() - RESERVE_MS, 1000 * TIMEOUT_SECONDS - RESERVE_MS // 2) - CALL_MS
    if spare_ms < 0 or not pace(context).wait(at_most_seconds=spare_ms / 1000):
        raise OutOfTimeError("the deadline and the pace of sending leave no time for it now")
    # Before the mail is claimed: a failure after that would leave it unknown.
    suppressed = context.database.transact(lambda connection: suppressions.among(connection, [to]))
    status = claim_email(context.database, context.clock, job_id=job.id, attempt=job.attempt)
    if status is Status.SENT:
        return Counts(total=1, skipped=1)
    if status is Status.UNKNOWN:
        raise PermanentError(
            "an earlier attempt ended in the call to SES, so it may have been sent; retry the job to send it again"
        )
    if suppressed:
        return _withhold(context, job.id, reason=suppressed[to])
    return _send(context, job.id, to, mail)


def _withhold(context: Context, job_id: str, *, reason: str) -> Counts:
    # Not dead: there is nothing to correct, and each mail to this address would raise the alarm.
    error = f"the address is suppressed: {reason}"
    move_email(context.database, context.clock, job_id=job_id, after=Status.REFUSED, error=error)
    logger.warning("mail withheld", extra={"reason": error})
    return Counts(total=1, skipped=1)


def _send(context: Context, job_id: str, to: str, mail: bytes) -> Counts:
    def move(after: Status, **values: str) -> None:
        move_email(context.database, context.clock, job_id=job_id, after=after, **values)

    try:
        result = mailer(context).send(mail, sender=context.settings(MailSettings).mail_from, to=to)
    except TransientError:
        move(Status.PENDING)
        raise
    match result:
        case Sent(provider_id):
            move(Status.SENT, provider_id=provider_id)
            logger.debug("mail accepted", extra={"provider_id": provider_id})
            return Counts(total=1, succeeded=1)
        case Refused(reason):
            move(Status.REFUSED, error=reason)
            raise PermanentError(f"SES refused it: {reason}")
        case Unknown(reason):
            move(Status.UNKNOWN, error=reason)
            raise PermanentError(f"it may or may not have been sent: {reason}; retry the job to send it again")


def _encode(context: Context, payload: Payload) -> tuple[str, bytes]:
    try:
        to = plain_address(payload.to)
    except ValueError as error:
        raise InvalidRequestError(f"to is {error}") from None
    if clean(payload.subject) != payload.subject or not 1 <= len(payload.subject) <= MAX_SUBJECT:
        raise InvalidRequestError(
            f"subject must be one line of 1 to {MAX_SUBJECT} characters, without control characters or space around it"
        )
    settings = context.settings(MailSettings)
    mime = MimeMail(
        _compose(payload, site={"site_name": settings.site_name, "site_url": settings.site_url}),
        sender_name=settings.site_name,
        sender=settings.mail_from,
        date=from_ms(context.clock.now_ms()),
    )
    # Not empty, because the template's greeting needs a word.
    return to, mime.encode(to, {"name": clean(payload.name) or "there"})


def _compose(payload: Payload, *, site: dict[str, str]) -> Composition:
    if payload.template is None:
        if not payload.text and not payload.html:
            raise InvalidRequestError("a mail needs a template, or text, or html")
        if payload.content:
            raise InvalidRequestError("content is for a template, and this mail has none")
        return Composition(subject=payload.subject, text=_part(payload.text), html=_part(payload.html))
    if payload.text or payload.html:
        raise InvalidRequestError("a mail has a template, or text and html, not both")
    if payload.template not in CONTENTS:
        raise InvalidRequestError(f"there is no template {payload.template[:64]!r}; there are {', '.join(CONTENTS)}")
    try:
        content = msgspec.convert(payload.content, CONTENTS[payload.template])
    except msgspec.ValidationError as error:
        reason = str(error)[:MAX_REASON]
        raise InvalidRequestError(f"the template {payload.template} cannot take this content: {reason}") from error
    return compose(payload.template, subject=payload.subject, content=site | msgspec.structs.asdict(content))


def _part(text: str | None) -> tuple[str, ...]:
    return (text,) if text else ()
