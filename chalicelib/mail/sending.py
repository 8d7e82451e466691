"""Sending mails in bulk calls where SES accepts them, one by one elsewhere, each at most once and at SES's pace."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chalicelib.core.clock import from_ms
from chalicelib.core.context import RESERVE_MS, Context
from chalicelib.core.errors import TransientError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import logger
from chalicelib.mail.ledger import Deliveries, Status
from chalicelib.mail.letter import Composition, MimeMail, SesTemplate
from chalicelib.mail.pace import pace
from chalicelib.mail.ses import (
    MAX_RECIPIENTS,
    BulkDeclinedError,
    NotSent,
    Refused,
    SendResult,
    Sent,
    ThrottledError,
    Unknown,
    mailer,
)
from chalicelib.mail.settings import MailSettings

# A call to SES that hangs ends after its time-outs; a mail that is sent later could outlive this process.
SEND_LIMIT_MS = 35_000
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.5, 30.0

# Sends to these users, and returns a result for each.
Send = Callable[[Sequence[str]], Sequence[SendResult]]


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A mail to one plain address, with the recipient's own values."""

    user_id: str
    to: str
    personal: Mapping[str, str]


class DigestSender:
    """Sends one digest to the recipients of deliveries."""

    def __init__(self, context: Context, deliveries: Deliveries, composition: Composition) -> None:
        settings = context.settings(MailSettings)
        self._context = context
        self._deliveries = deliveries
        name, sender = settings.site_name, settings.mail_from
        self._mime = MimeMail(composition, sender_name=name, sender=sender, date=from_ms(context.clock.now_ms()))
        self._template = SesTemplate(composition, sender_name=name, sender=sender)

    def send(self, mails: Sequence[Mail]) -> tuple[Counts, list[Mail]]:
        """Send in order until the time is up; return the counts and the mails that were not started.

        Counts are mails: failed were refused or are unknown, skipped were no longer pending. Raises ThrottledError
        and TransientError if SES accepts none for now; the mails that it did not accept are pending again.
        """
        counts, waiting, pause, limit = Counts(), list(mails), FIRST_PAUSE_SECONDS, MAX_RECIPIENTS
        while waiting:
            # If the process dies during the call, all its mails are unknown: so no more than one second's.
            most = 1 if mailer(self._context).is_bulk_declined else pace(self._context).burst
            batch = waiting[: min(limit, most)]
            spare_ms = self._context.remaining_ms() - RESERVE_MS - SEND_LIMIT_MS
            if spare_ms < 0 or not pace(self._context).wait(at_most_seconds=spare_ms / 1000, mails=len(batch)):
                break
            done, not_sent = self._send_batch(batch)
            counts += done
            waiting = [mail for mail in batch if mail.user_id in not_sent] + waiting[len(batch) :]
            if len(not_sent) < len(batch):
                pause = FIRST_PAUSE_SECONDS
            else:
                # An account whose own rate is lower than the pace would never accept a call of this size.
                limit = max(1, len(batch) // 2)
            if errors := [error for error in not_sent.values() if not isinstance(error, BulkDeclinedError)]:
                self._back_off(errors, pause)
                pause = min(2 * pause, MAX_PAUSE_SECONDS)
        return counts, waiting

    def _back_off(self, errors: Sequence[TransientError], pause: float) -> None:
        for error in errors:
            if not isinstance(error, ThrottledError):
                raise error
        if self._context.is_out_of_time(needed_ms=SEND_LIMIT_MS + round(pause * 1000)):
            raise errors[0]
        self._context.clock.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (jitter, not a secret)

    def _send_batch(self, batch: Sequence[Mail]) -> tuple[Counts, dict[str, TransientError]]:
        """Claim, send and record; return the counts, and by user id why a mail was not sent and is pending again."""
        # Encode first: an error here leaves the rows pending.
        send = self._encode(batch)
        # Claim before sending, so that a second copy of this message sends nothing.
        claimed = self._deliveries.claim([mail.user_id for mail in batch])
        ours = [mail.user_id for mail in batch if mail.user_id in claimed]
        results = dict(zip(ours, _call(send, ours), strict=True)) if ours else {}
        skipped = len(batch) - len(ours)
        not_sent = {user_id: result.error for user_id, result in results.items() if isinstance(result, NotSent)}
        return Counts(total=skipped, skipped=skipped) + self._record(results), not_sent

    def _encode(self, batch: Sequence[Mail]) -> Send:
        ses = mailer(self._context)
        if len(batch) == 1:
            sender, (mail,) = self._context.settings(MailSettings).mail_from, batch
            content = self._mime.encode(mail.to, mail.personal)
            return lambda ours: [ses.send(content, sender=sender, to=mail.to) for _ in ours]
        template = self._template
        entries = {mail.user_id: template.entry(mail.to, mail.personal) for mail in batch}
        return lambda ours: ses.send_bulk(template, [entries[user_id] for user_id in ours])

    def _record(self, results: Mapping[str, SendResult]) -> Counts:
        sent = {user_id: result.provider_id for user_id, result in results.items() if isinstance(result, Sent)}
        refused = {user_id: result.reason for user_id, result in results.items() if isinstance(result, Refused)}
        unknown = {user_id: result.reason for user_id, result in results.items() if isinstance(result, Unknown)}
        not_sent = [user_id for user_id, result in results.items() if isinstance(result, NotSent)]
        self._deliveries.move(sent, before=Status.SENDING, after=Status.SENT, provider_ids=sent)
        self._deliveries.move(not_sent, before=Status.SENDING, after=Status.PENDING)
        self._deliveries.move(refused, before=Status.SENDING, after=Status.REFUSED, errors=refused)
        self._deliveries.move(unknown, before=Status.SENDING, after=Status.UNKNOWN, errors=unknown)
        failed = len(refused) + len(unknown)
        return Counts(total=len(sent) + failed, succeeded=len(sent), failed=failed)


def _call(send: Send, user_ids: Sequence[str]) -> Sequence[SendResult]:
    try:
        return send(user_ids)
    except TransientError as error:
        if isinstance(error, BulkDeclinedError):
            logger.warning("mails go one by one", extra={"reason": str(error)})
        return [NotSent(error)] * len(user_ids)
