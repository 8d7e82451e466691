"""Mail's services of a context: SES, the pace of sending, and the secrets of unsubscribe links."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from chalicelib.core import secrets
from chalicelib.core.config import read_secrets
from chalicelib.core.context import SYSTEM_CLOCK, Context, service
from chalicelib.core.errors import ConfigurationError
from chalicelib.mail.pace import NextSlot, Pace
from chalicelib.mail.ses import Account, Mailer, read_account
from chalicelib.mail.settings import MailSettings

if TYPE_CHECKING:
    from types_boto3_sesv2 import SESV2Client

    from chalicelib.core.clock import Clock


@service
def mailer(context: Context) -> Mailer:
    """Return the mailer of SES."""
    return Mailer(context.client("sesv2"), configuration_set=context.settings(MailSettings).mail_configuration_set)


def mail_account(context: Context) -> Account:
    """Return the account's limits in SES, read once a process. Raises TransientError if SES does not return them."""
    return _account_of(context.client("sesv2"))


@service
def pace(context: Context) -> Pace:
    """Return the pace of sending: MAIL_RATE if it is set, else the account's own rate."""
    settings = context.settings(MailSettings)
    rate = settings.mail_rate or mail_account(context).rate
    slot = _next_slot(context.clock)
    return Pace(rate=rate, workers=settings.mail_workers, redis=context.cache, clock=context.clock, slot=slot)


@service
def unsubscribe_secrets(context: Context) -> tuple[str, ...]:
    """Return the secrets of unsubscribe links: the first signs, all verify."""
    return _read_unsubscribe_secrets(secrets.resolve(context.settings(MailSettings).unsubscribe_secrets))


def rotated_unsubscribe_secrets(context: Context) -> tuple[str, ...]:
    """Return the secrets of unsubscribe links, read again for a link that the ones in memory do not verify."""
    reference = context.settings(MailSettings).unsubscribe_secrets
    return _read_unsubscribe_secrets(secrets.resolve_again(reference, now_ms=context.clock.now_ms()))


def _read_unsubscribe_secrets(text: str) -> tuple[str, ...]:
    try:
        return read_secrets(text)
    except ValueError as error:
        raise ConfigurationError(f"what UNSUBSCRIBE_SECRETS refers to {error}") from None


@cache
def _next_slot(_clock: Clock) -> NextSlot:
    return NextSlot()


@cache
def _account_of(ses: SESV2Client) -> Account:
    return read_account(ses, clock=SYSTEM_CLOCK)
