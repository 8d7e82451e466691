"""Sends the digest of a day to a range of its recipients, each of them once."""

import random
from dataclasses import dataclass

import msgspec

from chalicelib.clock import from_ms
from chalicelib.context import RESERVE_MS, Context
from chalicelib.errors import OutOfTimeError, PermanentError, ThrottledError, TransientError
from chalicelib.handlers import Handler
from chalicelib.mail import digests, unsubscribe
from chalicelib.mail.deliveries import Ledger, Recipient, Status
from chalicelib.mail.letter import Letter
from chalicelib.mail.mailer import Refused, Sent, Unknown
from chalicelib.mail.text import clean, plain_address
from chalicelib.outcome import Counts
from chalicelib.queue.job import Job
from chalicelib.queue.message import Message
from chalicelib.telemetry import logger

MAILING = "daily_digest"
# A call to SES that hangs ends after its time-outs; a mail begun later could outlive this process.
SEND_LIMIT_MS = 35_000
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0

SUCCEEDED = Counts(total=1, succeeded=1)
FAILED = Counts(total=1, failed=1)
SKIPPED = Counts(total=1, skipped=1)


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The digest's day (2016-08-03), and the first and last user id of the range, both included."""

    day: str
    first: str
    last: str


@dataclass(frozen=True)
class Addressed:
    """A mail to one plain address, ready for SES."""

    to: str
    content: bytes


def perform(context: Context, job: Job[Payload]) -> Counts:
    """Send to every recipient of the range whose delivery is pending; near the deadline, hand the rest on.

    Counts are recipients: failed were refused or are unknown, skipped had been reached, have opted out or are
    suppressed.
    """
    payload = job.payload
    letter = _load_letter(context, payload.day)
    ledger = Ledger(context.database, context.clock, day=payload.day)
    counts, elsewhere = Counts(), 0
    for recipient in ledger.recipients(first=payload.first, last=payload.last):
        if recipient.status == Status.PENDING and not _takes_turn(context):
            _hand_on(context, msgspec.structs.replace(payload, first=recipient.user_id), counts)
            break
        elsewhere += ledger.is_in_work(recipient)
        counts += _reach(context, letter, ledger, recipient)
    if elsewhere:
        # Should that worker die, this message is all that leads back to its mail.
        raise TransientError(f"{elsewhere} of these mails are in another worker's hands")
    return counts


def _takes_turn(context: Context) -> bool:
    spare_ms = context.remaining_ms() - RESERVE_MS - SEND_LIMIT_MS
    return spare_ms >= 0 and context.pace.wait(at_most_seconds=spare_ms / 1000)


def _hand_on(context: Context, rest: Payload, counts: Counts) -> None:
    if counts.succeeded + counts.failed == 0:
        # A fresh message would meet the same end: this one stays, and is counted until it is given up.
        raise OutOfTimeError("there is no time for a single mail; raise the worker's time-out")
    context.queues.work.send([Message(type="send_digest", data=msgspec.to_builtins(rest))])


def _load_letter(context: Context, day: str) -> Letter:
    composition = digests.load(context, day)
    if composition is None:
        raise PermanentError(f"no digest of {day} has been composed")
    return Letter(
        composition,
        sender_name=context.settings.site_name,
        sender=context.settings.mail_from,
        date=from_ms(context.clock.now_ms()),
    )


def _reach(context: Context, letter: Letter, ledger: Ledger, recipient: Recipient) -> Counts:
    if ledger.is_abandoned(recipient):
        return _settle(ledger, recipient, Unknown("the process ended before SES's answer was recorded"))
    if recipient.status != Status.PENDING:
        return SKIPPED
    if recipient.email is None:
        ledger.move(recipient.user_id, before=Status.PENDING, after=Status.WITHDRAWN)
        return SKIPPED
    return _send(context, letter, ledger, recipient)


def _send(context: Context, letter: Letter, ledger: Ledger, recipient: Recipient) -> Counts:
    # Whatever can fail before the call to SES fails here, while the row is still pending.
    mail = _address(context, letter, recipient)
    pause = FIRST_PAUSE_SECONDS
    # The row is ours before the mail goes out, so a second copy of this message sends nothing.
    while ledger.move(recipient.user_id, before=Status.PENDING, after=Status.SENDING):
        if isinstance(mail, Refused):
            return _settle(ledger, recipient, mail)
        try:
            answer = context.mailer.send(mail.content, sender=context.settings.mail_from, to=mail.to)
        except TransientError as error:
            ledger.move(recipient.user_id, before=Status.SENDING, after=Status.PENDING)
            has_time = not context.is_out_of_time(needed_ms=SEND_LIMIT_MS + round(pause * 1000))
            if not (isinstance(error, ThrottledError) and has_time):
                raise
            context.clock.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (jitter, not a secret)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        else:
            return _settle(ledger, recipient, answer)
    return SKIPPED


def _address(context: Context, letter: Letter, recipient: Recipient) -> Addressed | Refused:
    try:
        to = plain_address(recipient.email or "")
    except ValueError as error:
        return Refused(str(error))
    token = unsubscribe.sign(recipient.user_id, MAILING, secrets=context.unsubscribe_secrets)
    personal = {
        # The template greets with it, and cannot see whether it is empty.
        "name": clean(recipient.name or "") or "there",
        "unsubscribe_url": unsubscribe.link(context.settings.unsubscribe_url, token),
    }
    return Addressed(to, letter.address(to, personal))


def _settle(ledger: Ledger, recipient: Recipient, answer: Sent | Refused | Unknown) -> Counts:
    user_id, sending = recipient.user_id, Status.SENDING
    match answer:
        case Sent(provider_id):
            ledger.move(user_id, before=sending, after=Status.SENT, provider_id=provider_id)
            return SUCCEEDED
        case Refused(reason):
            ledger.move(user_id, before=sending, after=Status.REFUSED, error=reason)
            logger.warning("digest refused", extra={"user_id": user_id, "reason": reason})
        case Unknown(reason):
            ledger.move(user_id, before=sending, after=Status.UNKNOWN, error=reason)
            logger.warning("digest may or may not have been sent", extra={"user_id": user_id, "reason": reason})
    return FAILED


HANDLER = Handler(
    type="send_digest",
    payload=Payload,
    perform=perform,
    # Four hours in all: a provider's bad afternoon.
    max_attempts=12,
    backoff_seconds=(60, 300, 900, 1800),
    timeout_seconds=None,
)
