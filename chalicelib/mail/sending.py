"""Sending a day's mails: several a call to SES where it takes them so, one by one elsewhere, each of them once."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from chalicelib.core.clock import from_ms
from chalicelib.core.context import RESERVE_MS, Context
from chalicelib.core.errors import ThrottledError, TransientError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import logger
from chalicelib.mail.bulk import MOST, DeclinedError
from chalicelib.mail.composition import Composition
from chalicelib.mail.deliveries import Ledger, Status
from chalicelib.mail.letter import Letter
from chalicelib.mail.mailer import Answer, NotSent, Refused, Sent, Unknown
from chalicelib.mail.template import Template

# A call to SES that hangs ends after its time-outs; a mail begun later could outlive this process.
SEND_LIMIT_MS = 35_000
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0

# Sends to these users, and returns an answer to each.
Send = Callable[[Sequence[str]], Sequence[Answer]]


@dataclass(frozen=True, kw_only=True)
class Addressed:
    """A mail to one plain address, with the recipient's own values."""

    user_id: str
    to: str
    personal: Mapping[str, str]


class Sending:
    """Sends one composition."""

    def __init__(self, context: Context, ledger: Ledger, composition: Composition) -> None:
        settings = context.settings
        self._context = context
        self._ledger = ledger
        self._letter = Letter(
            composition,
            sender_name=settings.site_name,
            sender=settings.mail_from,
            date=from_ms(context.clock.now_ms()),
        )
        self._template = Template(composition, sender_name=settings.site_name, sender=settings.mail_from)

    def send(self, mails: Sequence[Addressed]) -> tuple[Counts, list[Addressed]]:
        """Send in order until the time is up; return the counts, and the mails that were not begun.

        Counts are mails: failed were refused or are unknown, skipped were no longer pending. Raises ThrottledError
        and TransientError when SES takes none for now; what it did not take is pending again.
        """
        counts, waiting, pause, most = Counts(), list(mails), FIRST_PAUSE_SECONDS, MOST
        while waiting:
            batch = waiting[: min(most, self._size())]
            if not self._takes_turns(len(batch)):
                break
            settled, put_off = self._attempt(batch)
            counts += settled
            waiting = [mail for mail in batch if mail.user_id in put_off] + waiting[len(batch) :]
            if len(put_off) < len(batch):
                pause = FIRST_PAUSE_SECONDS
            else:
                # An account whose own rate is lower than the pace would never take a call of this size.
                most = max(1, len(batch) // 2)
            if errors := [error for error in put_off.values() if not isinstance(error, DeclinedError)]:
                self._rest(errors, pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        return counts, waiting

    def _size(self) -> int:
        # A process that dies in the call leaves as many mails of which nobody knows: no more than go in a second.
        return 1 if self._context.bulk_mailer.is_declined else self._context.pace.burst

    def _takes_turns(self, mails: int) -> bool:
        spare_ms = self._context.remaining_ms() - RESERVE_MS - SEND_LIMIT_MS
        return spare_ms >= 0 and self._context.pace.wait(at_most_seconds=spare_ms / 1000, mails=mails)

    def _rest(self, errors: Sequence[TransientError], pause: float) -> None:
        for error in errors:
            if not isinstance(error, ThrottledError):
                raise error
        if self._context.is_out_of_time(needed_ms=SEND_LIMIT_MS + round(pause * 1000)):
            raise errors[0]
        self._context.clock.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 (jitter, not a secret)

    def _attempt(self, batch: Sequence[Addressed]) -> tuple[Counts, dict[str, TransientError]]:
        """Claim, send and settle; return the counts, and by user id why SES did not take what is pending again."""
        # Whatever can fail before the call to SES fails here, while the rows are still pending.
        send = self._write(batch)
        # They are ours before the mails go out, so a second copy of this message sends nothing.
        claimed = self._ledger.claim([mail.user_id for mail in batch])
        ours = [mail.user_id for mail in batch if mail.user_id in claimed]
        answers = dict(zip(ours, _ask(send, ours), strict=True)) if ours else {}
        missed = len(batch) - len(ours)
        put_off = {user_id: answer.error for user_id, answer in answers.items() if isinstance(answer, NotSent)}
        return Counts(total=missed, skipped=missed) + self._settle(answers), put_off

    def _write(self, batch: Sequence[Addressed]) -> Send:
        if len(batch) == 1:
            mailer, sender, (mail,) = self._context.mailer, self._context.settings.mail_from, batch
            content = self._letter.address(mail.to, mail.personal)
            return lambda ours: [mailer.send(content, sender=sender, to=mail.to) for _ in ours]
        bulk, template = self._context.bulk_mailer, self._template
        entries = {mail.user_id: template.address(mail.to, mail.personal) for mail in batch}
        return lambda ours: bulk.send(template, [entries[user_id] for user_id in ours])

    def _settle(self, answers: Mapping[str, Answer]) -> Counts:
        sent = {user_id: answer.provider_id for user_id, answer in answers.items() if isinstance(answer, Sent)}
        refused = {user_id: answer.reason for user_id, answer in answers.items() if isinstance(answer, Refused)}
        unknown = {user_id: answer.reason for user_id, answer in answers.items() if isinstance(answer, Unknown)}
        not_sent = [user_id for user_id, answer in answers.items() if isinstance(answer, NotSent)]
        if sent:
            self._ledger.move(sent, before=Status.SENDING, after=Status.SENT, provider_ids=sent)
        if not_sent:
            self._ledger.move(not_sent, before=Status.SENDING, after=Status.PENDING)
        if refused:
            self._ledger.move(refused, before=Status.SENDING, after=Status.REFUSED, errors=refused)
            tell("digest refused", refused)
        if unknown:
            self._ledger.move(unknown, before=Status.SENDING, after=Status.UNKNOWN, errors=unknown)
            tell("digest may or may not have been sent", unknown)
        failed = len(refused) + len(unknown)
        return Counts(total=len(sent) + failed, succeeded=len(sent), failed=failed)


def _ask(send: Send, user_ids: Sequence[str]) -> Sequence[Answer]:
    try:
        return send(user_ids)
    except TransientError as error:
        if isinstance(error, DeclinedError):
            logger.warning("mails go one by one", extra={"reason": str(error)})
        return [NotSent(error)] * len(user_ids)


def tell(what: str, reasons: Mapping[str, str]) -> None:
    """Log one line for each user, with the reason."""
    for user_id, reason in reasons.items():
        logger.warning(what, extra={"user_id": user_id, "reason": reason})
