"""Bounces and complaints, as SES publishes them to SNS: their addresses are suppressed.

SES has two formats, notifications and events; both are read.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar

import msgspec
from sqlalchemy import Connection

from chalicelib.core.attempt import attempt_and_report
from chalicelib.core.clock import to_ms
from chalicelib.core.context import Context
from chalicelib.core.error_text import explain
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import logger
from chalicelib.core.text import clean
from chalicelib.mail import suppressions, unsubscribe
from chalicelib.mail.suppressions import Incident, Reason, is_same_address, normalize

# SES accepts no mail with more, so a message with more is not from SES.
MAX_RECIPIENTS = 50
# SES publishes this plain text to test a topic that becomes the destination of its events.
TOPIC_TEST = "Successfully validated SNS topic"
# `Name <address>`, as some servers report a recipient.
_NAMED = re.compile(r"""(?:"[^"]*"\s*|[^<>",;]*)<([^<>]+)>\s*""")

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Kind(msgspec.Struct, frozen=True, rename="camel"):
    """The type of a message: notifications have the one key, events the other."""

    notification_type: str | None = None
    event_type: str | None = None


class Recipient(msgspec.Struct, frozen=True, rename="camel"):
    """An address, and the answer of its server."""

    email_address: Annotated[str, msgspec.Meta(max_length=1000)]
    diagnostic_code: Any = None


class Mail(msgspec.Struct, frozen=True, rename="camel"):
    """The mail: SES's id of it, and its recipients as the sender spelled them."""

    message_id: Annotated[str, msgspec.Meta(min_length=1)]
    destination: list[Any] = []


class Bounce(msgspec.Struct, frozen=True):
    """A server did not accept the mail, or sent it back."""

    recipients: list[Any] = msgspec.field(name="bouncedRecipients")
    kind: str = msgspec.field(name="bounceType")
    timestamp: Moment | None = None

    @property
    def reason(self) -> Reason:
        """The reason to suppress; a bounce that SES calls undetermined counts as transient."""
        return Reason.PERMANENT if self.kind == "Permanent" else Reason.TRANSIENT


class Complaint(msgspec.Struct, frozen=True):
    """A reader reported the mail as spam."""

    reason: ClassVar[Reason] = Reason.COMPLAINT
    recipients: list[Any] = msgspec.field(name="complainedRecipients")
    kind: str | None = msgspec.field(name="complaintFeedbackType", default=None)
    timestamp: Moment | None = None


# By type, a notification or an event: the mail, and the details of the type under its own key.
MESSAGES: dict[str, Any] = {
    kind.__name__: msgspec.defstruct(
        kind.__name__, [("mail", Mail), ("details", kind)], rename={"details": kind.__name__.lower()}
    )
    for kind in (Bounce, Complaint)
}


def receive(event: object, context: Context) -> dict[str, Any]:
    """Record the bounces and complaints of an SNS event, once however often it is delivered; return the summary.

    Counts are recipients: succeeded are new, skipped were recorded before, failed have no plain address. Raises
    RunFailedError, so that Lambda retries the event and in the end keeps it with the failed fires.
    """

    def work() -> Counts:
        now_ms = context.clock.now_ms()
        # All are read before any is recorded: one unreadable message fails the whole event.
        incidents = [incident for text in list(_messages(event)) for incident in _read(text, now_ms=now_ms)]
        return sum((_record(context, incident) for incident in incidents), Counts())

    return attempt_and_report(context, "mail_feedback", work)


def _messages(event: object) -> Iterator[str]:
    records = event.get("Records") if isinstance(event, Mapping) else None
    if not isinstance(records, list) or not records:
        raise InvalidRequestError("mail_feedback takes what SES publishes to its topic, and this is no event of SNS")
    for record in records:
        sns = record.get("Sns") if isinstance(record, Mapping) else None
        if not isinstance(sns, Mapping) or not isinstance(sns.get("Message"), str):
            raise InvalidRequestError("a record of the event is not of SNS: it has no Sns.Message")
        if sns.get("Type", "Notification") == "Notification":
            yield sns["Message"]
        else:
            # SNS asks to confirm a subscription; a function's subscription needs no confirmation.
            _ignore(str(sns["Type"]))


def _read(text: str, *, now_ms: int) -> list[Incident | None]:
    """Return the incident of each recipient of a message, None for one without a plain address.

    Messages of other types have none. Raises InvalidRequestError for a message that SES cannot have sent.
    """
    if text.startswith(TOPIC_TEST):
        return _ignore("SES tests the topic")
    try:
        tree = json.loads(text)
        kind = msgspec.convert(tree, Kind)
        type_ = kind.notification_type or kind.event_type
        if not type_:
            raise ValueError("it has neither a notificationType nor an eventType")
        if type_ not in MESSAGES:
            return _ignore(type_)
        message = msgspec.convert(tree, MESSAGES[type_])
        mail, details = message.mail, message.details
        if max(len(details.recipients), len(mail.destination)) > MAX_RECIPIENTS:
            raise ValueError(f"a mail of SES has at most {MAX_RECIPIENTS} recipients")
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"what was published is not valid: {explain(text, error)}") from error
    if details.kind == "not-spam":
        # The reader takes a complaint back.
        return _ignore("not-spam")
    return [_read_recipient(item, mail, details, now_ms=now_ms) for item in details.recipients]


def _ignore(type_: str) -> list[Incident | None]:
    logger.info("feedback ignored", extra={"type": clean(type_)[:64]})
    return []


def _read_recipient(item: Any, mail: Mail, details: Bounce | Complaint, *, now_ms: int) -> Incident | None:
    try:
        recipient = msgspec.convert(item, Recipient)
        named = _NAMED.fullmatch(recipient.email_address)
        spelling = named[1] if named else recipient.email_address
        address = normalize(spelling.strip())
    except ValueError:
        return None
    words = recipient.diagnostic_code if isinstance(recipient.diagnostic_code, str) else details.kind
    sent_to = (text for text in mail.destination if is_same_address(text, address))
    return Incident(
        address=address,
        spellings=frozenset([spelling, address, *sent_to]),
        reason=details.reason,
        message_id=clean(mail.message_id)[:128],
        # An incident from a clock that is ahead would stay recent.
        at_ms=min(to_ms(details.timestamp), now_ms) if details.timestamp else now_ms,
        words=clean(words or ""),
    )


def _record(context: Context, incident: Incident | None) -> Counts:
    if incident is None:
        # Without its text: it is not known which part of it to mask.
        logger.warning("feedback without a plain address")
        return Counts(total=1, failed=1)
    now_ms = context.clock.now_ms()

    def work(connection: Connection) -> bool:
        is_new = suppressions.record(connection, incident, now_ms=now_ms)
        # In the same transaction, and only once: a copy must not opt out a user who has opted in again.
        if is_new and incident.reason is Reason.COMPLAINT:
            unsubscribe.opt_out_address(connection, incident.address, spellings=incident.spellings)
        return is_new

    if not context.database.transact(work):
        return Counts(total=1, skipped=1)
    fields = {"reason": incident.reason.value, "address": incident.address, "ses_message_id": incident.message_id}
    logger.info("bounce or complaint recorded", extra=fields)
    return Counts(total=1, succeeded=1)
