"""Sending through SES, and telling apart what it accepted, refused, put off, and what nobody can know."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ProxyConnectionError,
)
from botocore.parsers import ResponseParserError

from chalicelib.core.clock import Clock
from chalicelib.core.errors import ThrottledError, TransientError

if TYPE_CHECKING:
    from types_boto3_sesv2 import SESV2Client
    from types_boto3_sesv2.type_defs import GetAccountResponseTypeDef

THROTTLED = frozenset({"TooManyRequestsException", "Throttling", "ThrottlingException", "ServiceUnavailable"})
REFUSED = frozenset({"MessageRejected", "BadRequestException", "InvalidParameterValue"})
# SES says these under the same codes; they concern the sender or the account, not this recipient.
ABOUT_ACCOUNT = ("not verified", "authority to send", "Daily message quota", "paused for this account")
NOT_SENT = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
# What a call of botocore's raises, and what an answer without the expected in it does.
FAILURES = (ClientError, BotoCoreError, ResponseParserError, KeyError)


# SES answers about one such question a second, and several processes that start together ask it. The client itself
# makes one attempt only, because it sends mails too.
ACCOUNT_PAUSES = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Sent:
    """The provider accepted the mail."""

    provider_id: str


@dataclass(frozen=True)
class Refused:
    """The provider will not send this mail to this address, now or later."""

    reason: str


@dataclass(frozen=True)
class Unknown:
    """The connection ended after the mail went out and before the answer came: it may have been accepted."""

    reason: str


@dataclass(frozen=True)
class NotSent:
    """The provider certainly did not take the mail; the error says whether a slower pace would help."""

    error: TransientError


Answer = Sent | Refused | Unknown | NotSent


class Mailer:
    """Sends one mail a call, under the configuration set that has SES tell what becomes of it, where there is one."""

    def __init__(self, ses: SESV2Client, *, configuration_set: str | None = None) -> None:
        self._ses = ses
        self._options: Any = {"ConfigurationSetName": configuration_set} if configuration_set else {}

    def send(self, mail: bytes, *, sender: str, to: str) -> Sent | Refused | Unknown:
        """Send a mail in MIME form to one plain address.

        Raises ThrottledError when SES asks for a slower pace, TransientError when the account or the connection
        cannot send at all; in both cases the mail was certainly not sent.
        """
        try:
            answer = self._ses.send_email(
                FromEmailAddress=sender,
                Destination={"ToAddresses": [to]},
                Content={"Raw": {"Data": mail}},
                **self._options,
            )
            return Sent(answer["MessageId"])
        except FAILURES as error:
            return read_failure(error)


def read_failure(error: Exception) -> Refused | Unknown:
    """Return what a call to SES that failed came to. Raises ThrottledError and TransientError as `send` does."""
    if isinstance(error, ClientError):
        return _read_refusal(error)
    if isinstance(error, NOT_SENT):
        raise TransientError(f"SES cannot be reached: {error}") from error
    if isinstance(error, BotoCoreError) and not isinstance(error, HTTPClientError):
        # No credentials, no region, a parameter that it will not send: it ended before there was a request.
        raise TransientError(f"the mail cannot be handed to SES: {error}") from error
    return Unknown(f"no answer from SES: {error!r}")


def is_about_account(reason: str) -> bool:
    """Return whether what SES says concerns the sender or the account, and so every recipient alike."""
    return any(words in reason for words in ABOUT_ACCOUNT)


def _read_refusal(error: ClientError) -> Refused | Unknown:
    code, reason = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if not is_about_account(reason):
        if code in THROTTLED:
            raise ThrottledError(f"SES asks for a slower pace: {reason}") from error
        if code in REFUSED:
            return Refused(f"{code}: {reason}")
        if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            return Unknown(f"SES failed: {code}: {reason}")
    # Paused, suspended, over the daily quota, sender not verified, no permission: the same for every recipient.
    raise TransientError(f"SES does not send for this account: {code}: {reason}") from error


def _ask_account(ses: SESV2Client, clock: Clock) -> GetAccountResponseTypeDef:
    for pause in ACCOUNT_PAUSES:
        try:
            return ses.get_account()
        except ClientError as error:
            if error.response["Error"]["Code"] not in THROTTLED:
                raise
            clock.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 (jitter, not a secret)
    return ses.get_account()


@dataclass(frozen=True, kw_only=True)
class Account:
    """What SES lets the account do: mails a second, mails a day, and whether to any recipient at all."""

    rate: float
    daily: float
    sent_today: float
    is_sandboxed: bool
    is_enabled: bool


def read_account(ses: SESV2Client, *, clock: Clock) -> Account:
    """Return the account's quota and state. Raises TransientError when SES does not say."""
    try:
        answer = _ask_account(ses, clock)
        quota = answer["SendQuota"]
        account = Account(
            rate=quota["MaxSendRate"],
            daily=quota["Max24HourSend"],
            sent_today=quota["SentLast24Hours"],
            is_sandboxed=not answer["ProductionAccessEnabled"],
            is_enabled=answer["SendingEnabled"],
        )
    except (BotoCoreError, ClientError, KeyError) as error:
        raise TransientError(f"SES does not tell the account's quota: {error}") from error
    if account.rate <= 0:
        raise TransientError("SES lets this account send nothing at all now")
    return account
