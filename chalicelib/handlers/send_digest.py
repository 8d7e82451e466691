"""Sends the digest of a day to a range of its recipients, each of them once."""

from collections.abc import Sequence
from itertools import takewhile

import msgspec

from chalicelib.core.context import Context
from chalicelib.core.errors import OutOfTimeError, PermanentError, TransientError
from chalicelib.core.outcome import Counts
from chalicelib.handlers import Handler
from chalicelib.mail import digests, unsubscribe
from chalicelib.mail.deliveries import Ledger, Recipient, Status
from chalicelib.mail.sending import Addressed, Sending, tell
from chalicelib.mail.text import clean, plain_address
from chalicelib.queue.job import Job
from chalicelib.queue.message import Message

MAILING = "daily_digest"
ABANDONED = "the process ended before SES's answer was recorded"


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The digest's day (2016-08-03), and the first and last user id of the range, both included."""

    day: str
    first: str
    last: str


def perform(context: Context, job: Job[Payload]) -> Counts:
    """Send to every recipient of the range whose delivery is pending; near the deadline, hand the rest on.

    Counts are recipients: failed were refused or are unknown, skipped had been reached, have opted out or are
    suppressed.
    """
    payload = job.payload
    composition = digests.load(context, payload.day)
    if composition is None:
        raise PermanentError(f"no digest of {payload.day} has been composed")
    ledger = Ledger(context.database, context.clock, day=payload.day)
    recipients = ledger.recipients(first=payload.first, last=payload.last)
    # Whatever can fail before the call to SES fails here, while the rows are still pending.
    mails, refused = _address(context, recipients)
    settled = _settle(ledger, recipients, refused)
    sent, rest = Sending(context, ledger, composition).send(mails)
    if rest:
        _hand_on(context, msgspec.structs.replace(payload, first=rest[0].user_id), sent)
        recipients = list(takewhile(lambda recipient: recipient.user_id != rest[0].user_id, recipients))
    if elsewhere := sum(map(ledger.is_in_work, recipients)):
        # Should that worker die, this message is all that leads back to its mail.
        raise TransientError(f"{elsewhere} of these mails are in another worker's hands")
    return settled + sent


def _address(context: Context, recipients: Sequence[Recipient]) -> tuple[list[Addressed], dict[str, str]]:
    """Return the mails of the recipients that are pending, and by user id why there can be none."""
    mails: list[Addressed] = []
    refused: dict[str, str] = {}
    for recipient in recipients:
        if recipient.status != Status.PENDING or recipient.email is None:
            continue
        try:
            to = plain_address(recipient.email)
        except ValueError as error:
            refused[recipient.user_id] = str(error)
            continue
        token = unsubscribe.sign(recipient.user_id, MAILING, secrets=context.unsubscribe_secrets)
        personal = {
            # The template greets with it, and cannot see whether it is empty.
            "name": clean(recipient.name or "") or "there",
            "unsubscribe_url": unsubscribe.link(context.settings.unsubscribe_url, token),
        }
        mails.append(Addressed(user_id=recipient.user_id, to=to, personal=personal))
    return mails, refused


def _settle(ledger: Ledger, recipients: Sequence[Recipient], refused: dict[str, str]) -> Counts:
    """Settle those who get no mail; return the counts, also of those who had been reached."""
    pending = [recipient for recipient in recipients if recipient.status == Status.PENDING]
    withdrawn = [recipient.user_id for recipient in pending if recipient.email is None]
    abandoned = {recipient.user_id: ABANDONED for recipient in recipients if ledger.is_abandoned(recipient)}
    failed = 0
    if withdrawn:
        ledger.move(withdrawn, before=Status.PENDING, after=Status.WITHDRAWN)
    if refused:
        failed += ledger.move(refused, before=Status.PENDING, after=Status.REFUSED, errors=refused)
        tell("digest refused", refused)
    if abandoned:
        failed += ledger.move(abandoned, before=Status.SENDING, after=Status.UNKNOWN, errors=abandoned)
        tell("digest may or may not have been sent", abandoned)
    total = len(recipients) - len(pending) + len(withdrawn) + len(refused)
    return Counts(total=total, failed=failed, skipped=total - failed)


def _hand_on(context: Context, rest: Payload, sent: Counts) -> None:
    if sent.succeeded + sent.failed == 0:
        # A fresh message would meet the same end: this one stays, and is counted until it is given up.
        raise OutOfTimeError("there is no time for a single mail; raise the worker's time-out")
    context.queues.work.send([Message(type="send_digest", data=msgspec.to_builtins(rest))])


HANDLER = Handler(
    type="send_digest",
    payload=Payload,
    perform=perform,
    # Four hours in all: a provider's bad afternoon.
    max_attempts=12,
    backoff_seconds=(60, 300, 900, 1800),
    timeout_seconds=None,
)
