"""Sends the digest of a day to a range of its recipients, to each at most once."""

from collections.abc import Sequence
from itertools import takewhile

import msgspec

from chalicelib.api import Context, Counts, Job, OutOfTimeError, PermanentError, TransientError, handler
from chalicelib.core.text import clean, plain_address
from chalicelib.mail import unsubscribe
from chalicelib.mail.ledger import ABANDONED, Deliveries, Recipient, Status
from chalicelib.mail.sending import DigestSender, Mail
from chalicelib.queue.message import Message
from chalicelib.queue.services import queues
from chalicelib.tasks.daily_digest import load_digest


class Payload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The digest's day (2016-08-03), and the first and last user id of the range, both included."""

    day: str
    first: str
    last: str


@handler(
    # About four hours: an outage of the provider.
    max_attempts=12,
    backoff_seconds=(60, 300, 900, 1800),
    timeout_seconds=None,
)
def send_digest(context: Context, job: Job[Payload]) -> Counts:
    """Send to every recipient of the range whose delivery is pending; near the deadline, queue the rest as a new job.

    Counts are recipients: failed were refused or are unknown; skipped were sent to before, opted out or are suppressed.
    """
    payload = job.payload
    digest = load_digest(context, payload.day)
    if digest is None:
        raise PermanentError(f"no digest of {payload.day} has been composed")
    deliveries = Deliveries(context.database, context.clock, day=payload.day)
    recipients = deliveries.recipients(first=payload.first, last=payload.last)
    # Build all mails first: an error here leaves the rows pending.
    mails, refused = _build_mails(context, recipients)
    counts = _settle_unsendable(deliveries, recipients, refused)
    sent, rest = DigestSender(context, deliveries, digest).send(mails)
    if rest:
        _queue_rest(context, msgspec.structs.replace(payload, first=rest[0].user_id), sent)
        recipients = list(takewhile(lambda recipient: recipient.user_id != rest[0].user_id, recipients))
    if in_progress := sum(map(deliveries.is_in_progress, recipients)):
        # Fail, so that this message comes again: if the other worker dies, only this message leads to its mails.
        raise TransientError(f"another worker is sending {in_progress} of these mails")
    return counts + sent


def _build_mails(context: Context, recipients: Sequence[Recipient]) -> tuple[list[Mail], dict[str, str]]:
    """Return the mails of the pending recipients, and by user id why a mail cannot be built."""
    mails: list[Mail] = []
    refused: dict[str, str] = {}
    for recipient in recipients:
        if recipient.status != Status.PENDING or recipient.email is None:
            continue
        try:
            to = plain_address(recipient.email)
        except ValueError as error:
            refused[recipient.user_id] = str(error)
            continue
        personal = {
            # Not empty, because the template's greeting needs a word.
            "name": clean(recipient.name or "") or "there",
            "unsubscribe_url": unsubscribe.link_for(context, recipient.user_id),
        }
        mails.append(Mail(user_id=recipient.user_id, to=to, personal=personal))
    return mails, refused


def _settle_unsendable(deliveries: Deliveries, recipients: Sequence[Recipient], refused: dict[str, str]) -> Counts:
    """Record the recipients who get no mail; return the counts, with those who were sent to before."""
    pending = [recipient for recipient in recipients if recipient.status == Status.PENDING]
    withdrawn = [recipient.user_id for recipient in pending if recipient.email is None]
    abandoned = {recipient.user_id: ABANDONED for recipient in recipients if deliveries.is_abandoned(recipient)}
    deliveries.move(withdrawn, before=Status.PENDING, after=Status.WITHDRAWN)
    failed = deliveries.move(refused, before=Status.PENDING, after=Status.REFUSED, errors=refused)
    failed += deliveries.move(abandoned, before=Status.SENDING, after=Status.UNKNOWN, errors=abandoned)
    total = len(recipients) - len(pending) + len(withdrawn) + len(refused)
    return Counts(total=total, failed=failed, skipped=total - failed)


def _queue_rest(context: Context, rest: Payload, sent: Counts) -> None:
    if sent.succeeded + sent.failed == 0:
        # A new message would fail the same way: this one is retried, and is dead after its last attempt.
        raise OutOfTimeError("there is no time for a single mail; raise the worker's time-out")
    queues(context).work.send([Message(type="send_digest", data=msgspec.to_builtins(rest))])
