"""What SES publishes of mails that came back, in both of its formats: notifications and events."""

import json
import re
from datetime import datetime
from typing import Annotated, Any, ClassVar

import msgspec

from chalicelib.core.clock import to_ms
from chalicelib.core.error_text import explain
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.telemetry import logger
from chalicelib.mail.suppressions import Incident, Reason, is_same, normal
from chalicelib.mail.text import clean

# SES takes no mail with more, so whoever names more is not SES.
MOST_RECIPIENTS = 50
# The plain text with which SES tries a topic that becomes the destination of its events.
TRIAL = "Successfully validated SNS topic"
_NAMED = re.compile(r"""(?:"[^"]*"\s*|[^<>",;]*)<([^<>]+)>\s*""")

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Kind(msgspec.Struct, frozen=True, rename="camel"):
    """What a message is about: the one key in notifications, the other in events."""

    notification_type: str | None = None
    event_type: str | None = None


class Recipient(msgspec.Struct, frozen=True, rename="camel"):
    """Whom it was to reach, and what the server there said."""

    email_address: Annotated[str, msgspec.Meta(max_length=1000)]
    diagnostic_code: Any = None


class Mail(msgspec.Struct, frozen=True, rename="camel"):
    """The mail that came back: SES's id of it, and its recipients as the sender spelled them."""

    message_id: Annotated[str, msgspec.Meta(min_length=1)]
    destination: list[Any] = []


class Bounce(msgspec.Struct, frozen=True):
    """A server did not take the mail, or took it and sent it back."""

    recipients: list[Any] = msgspec.field(name="bouncedRecipients")
    kind: str = msgspec.field(name="bounceType")
    timestamp: Moment | None = None

    @property
    def reason(self) -> Reason:
        """What SES cannot determine may pass, as what is transient may."""
        return Reason.PERMANENT if self.kind == "Permanent" else Reason.TRANSIENT


class Complaint(msgspec.Struct, frozen=True):
    """A reader called the mail spam."""

    reason: ClassVar[Reason] = Reason.COMPLAINT
    recipients: list[Any] = msgspec.field(name="complainedRecipients")
    kind: str | None = msgspec.field(name="complaintFeedbackType", default=None)
    timestamp: Moment | None = None


class BounceNotice(msgspec.Struct, frozen=True):
    """A notification or an event of a bounce."""

    mail: Mail
    told: Bounce = msgspec.field(name="bounce")


class ComplaintNotice(msgspec.Struct, frozen=True):
    """A notification or an event of a complaint."""

    mail: Mail
    told: Complaint = msgspec.field(name="complaint")


Notice = BounceNotice | ComplaintNotice
NOTICES: dict[str, type[Notice]] = {"Bounce": BounceNotice, "Complaint": ComplaintNotice}


def read(text: str, *, now_ms: int) -> list[Incident | None]:
    """Return what a message of SES tells of each recipient, None for one without a plain address.

    Of anything but bounces and complaints, nothing. Raises InvalidRequestError for a message that SES cannot have sent.
    """
    if text.startswith(TRIAL):
        return _ignore("SES tries the topic")
    try:
        tree = json.loads(text)
        kind = msgspec.convert(tree, Kind)
        type_ = kind.notification_type or kind.event_type
        if not type_:
            raise ValueError("it has neither a notificationType nor an eventType")
        if type_ not in NOTICES:
            return _ignore(type_)
        notice = msgspec.convert(tree, NOTICES[type_])
        if max(len(notice.told.recipients), len(notice.mail.destination)) > MOST_RECIPIENTS:
            raise ValueError(f"a mail of SES has at most {MOST_RECIPIENTS} recipients")
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"what was published is not valid: {explain(text, error)}") from error
    if notice.told.kind == "not-spam":
        # A reader takes a complaint back.
        return _ignore("not-spam")
    return [_read_recipient(item, notice, now_ms=now_ms) for item in notice.told.recipients]


def _ignore(type_: str) -> list[Incident | None]:
    logger.info("feedback ignored", extra={"type": clean(type_)[:64]})
    return []


def _read_recipient(item: Any, notice: Notice, *, now_ms: int) -> Incident | None:
    told = notice.told
    try:
        recipient = msgspec.convert(item, Recipient)
        named = _NAMED.fullmatch(recipient.email_address)
        spelling = named[1] if named else recipient.email_address
        address = normal(spelling.strip())
    except ValueError:
        return None
    words = recipient.diagnostic_code if isinstance(recipient.diagnostic_code, str) else told.kind
    return Incident(
        address=address,
        spellings=frozenset([spelling, address, *(text for text in notice.mail.destination if is_same(text, address))]),
        reason=told.reason,
        message_id=clean(notice.mail.message_id)[:128],
        # Of a clock that is ahead an incident would stay recent.
        at_ms=min(to_ms(told.timestamp), now_ms) if told.timestamp else now_ms,
        words=clean(words or ""),
    )
