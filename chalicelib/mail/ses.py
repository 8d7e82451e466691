"""Calls to SES, for one mail or up to fifty, and their results: sent, refused, unknown or not sent."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ParamValidationError,
    ProxyConnectionError,
)
from botocore.parsers import ResponseParserError

from chalicelib.core.clock import Clock
from chalicelib.core.context import SYSTEM_CLOCK, Context, service
from chalicelib.core.errors import TransientError
from chalicelib.mail.settings import MailSettings

if TYPE_CHECKING:
    from types_boto3_sesv2 import SESV2Client
    from types_boto3_sesv2.type_defs import GetAccountResponseTypeDef

    from chalicelib.mail.letter import SesTemplate

THROTTLED_CODES = frozenset({"TooManyRequestsException", "Throttling", "ThrottlingException", "ServiceUnavailable"})
REFUSED_CODES = frozenset({"MessageRejected", "BadRequestException", "InvalidParameterValue"})
ACCOUNT_CODES = frozenset(
    {
        "AccountSuspendedException",
        "LimitExceededException",
        "MailFromDomainNotVerifiedException",
        "SendingPausedException",
    }
)
# Messages about the sender or the account, to which SES gives the same codes as to those about a recipient.
ACCOUNT_MESSAGES = ("not verified", "authority to send", "Daily message quota", "paused for this account")
CONNECTION_FAILURES = (EndpointConnectionError, ConnectTimeoutError, ProxyConnectionError)
# What a call of botocore raises, and what an incomplete answer does.
FAILURES = (ClientError, BotoCoreError, ResponseParserError, KeyError)

# The statuses of one mail in a bulk call.
THROTTLED_STATUSES = frozenset({"ACCOUNT_THROTTLED", "TRANSIENT_FAILURE"})
REFUSED_STATUSES = frozenset({"MESSAGE_REJECTED", "INVALID_PARAMETER", "FAILED"})
ACCOUNT_STATUSES = frozenset(
    {
        "ACCOUNT_SUSPENDED",
        "ACCOUNT_DAILY_QUOTA_EXCEEDED",
        "ACCOUNT_SENDING_PAUSED",
        "CONFIGURATION_SET_NOT_FOUND",
        "CONFIGURATION_SET_SENDING_PAUSED",
        "INVALID_SENDING_POOL_NAME",
        "MAIL_FROM_DOMAIN_NOT_VERIFIED",
        "TEMPLATE_NOT_FOUND",
    }
)
# SES's limits: recipients of a bulk call, and bytes of a request with an inline template, 1 MB.
MAX_RECIPIENTS, MAX_REQUEST = 50, 1_000_000
MAX_HEADER = 995

# SES answers GetAccount about once a second, and several processes that start together call it. The client itself
# makes one attempt only, because it sends mails too.
ACCOUNT_PAUSES = (0.5, 1.0, 2.0)


class ThrottledError(TransientError):
    """A provider asked for a slower pace and certainly did not do the work."""


@dataclass(frozen=True)
class Sent:
    """SES accepted the mail."""

    provider_id: str


@dataclass(frozen=True)
class Refused:
    """SES will never send this mail to this address."""

    reason: str


@dataclass(frozen=True)
class Unknown:
    """The connection ended after the request and before the answer: SES may have accepted the mail."""

    reason: str


@dataclass(frozen=True)
class NotSent:
    """SES certainly did not accept the mail; the error is a ThrottledError if a slower pace would help."""

    error: TransientError


SendResult = Sent | Refused | Unknown | NotSent


class BulkDeclinedError(TransientError):
    """SES does not accept these mails in one call and sent none; single calls may work."""


class Mailer:
    """Sends mails with the configuration set that publishes bounces and complaints, if there is one.

    Both methods raise ThrottledError if SES asks for a slower pace, and TransientError if the account or the
    connection cannot send at all. In both cases no mail was sent.
    """

    def __init__(self, ses: SESV2Client, *, configuration_set: str | None = None) -> None:
        self._ses = ses
        self._options: Any = {"ConfigurationSetName": configuration_set} if configuration_set else {}
        self.is_bulk_declined = False

    def send(self, mail: bytes, *, sender: str, to: str) -> Sent | Refused | Unknown:
        """Send a mail in MIME form to one plain address."""
        try:
            answer = self._ses.send_email(
                FromEmailAddress=sender,
                Destination={"ToAddresses": [to]},
                Content={"Raw": {"Data": mail}},
                **self._options,
            )
            return Sent(answer["MessageId"])
        except FAILURES as error:
            return _result_of_failure(error)

    def send_bulk(self, template: SesTemplate, entries: Sequence[Mapping[str, Any]]) -> list[SendResult]:
        """Send to up to fifty entries of the template in one call, and return a result for each.

        Raises BulkDeclinedError if SES or the size of the request rules out the call as such; no mail was sent, and
        `is_bulk_declined` is true from then on.
        """
        request: Any = {"DefaultContent": {"Template": template.content}, "BulkEmailEntries": list(entries)}
        if reason := _too_large(request):
            self._decline(reason)
        try:
            answer = self._ses.send_bulk_email(FromEmailAddress=template.sender, **request, **self._options)
            results = answer["BulkEmailEntryResults"]
        except FAILURES as error:
            if _is_about_call(error):
                self._decline(str(error))
            return [_result_of_failure(error)] * len(entries)
        if len(results) != len(entries):
            # Only its position says which mail a result is for.
            return [Unknown(f"SES gave {len(results)} answers to {len(entries)} mails")] * len(entries)
        return [_result_of_entry(result) for result in results]

    def _decline(self, reason: str) -> None:
        self.is_bulk_declined = True
        raise BulkDeclinedError(reason)


@service
def mailer(context: Context) -> Mailer:
    """Return the mailer of SES."""
    return Mailer(context.client("sesv2"), configuration_set=context.settings(MailSettings).mail_configuration_set)


def _result_of_failure(error: Exception) -> Refused | Unknown:
    if isinstance(error, ClientError):
        return _result_of_error_code(error)
    if isinstance(error, CONNECTION_FAILURES):
        raise TransientError(f"SES cannot be reached: {error}") from error
    if isinstance(error, BotoCoreError) and not isinstance(error, HTTPClientError):
        # No credentials, no region or a wrong parameter: botocore made no request.
        raise TransientError(f"the mail cannot be handed to SES: {error}") from error
    return Unknown(f"no answer from SES: {error!r}")


def _result_of_error_code(error: ClientError) -> Refused | Unknown:
    code, reason = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    if not _is_about_account(reason):
        if code in THROTTLED_CODES:
            raise ThrottledError(f"SES asks for a slower pace: {reason}") from error
        if code in REFUSED_CODES:
            return Refused(f"{code}: {reason}")
        if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            return Unknown(f"SES failed: {code}: {reason}")
    # Paused, suspended, over the daily quota, sender not verified, no permission: the same for every recipient.
    raise TransientError(f"SES does not send for this account: {code}: {reason}") from error


def _result_of_entry(result: Mapping[str, Any]) -> SendResult:
    status, reason = result.get("Status"), f"{result.get('Status')}: {result.get('Error', '')}"
    if status == "SUCCESS" and "MessageId" in result:
        return Sent(result["MessageId"])
    if status in ACCOUNT_STATUSES or (status in REFUSED_STATUSES and _is_about_account(reason)):
        return NotSent(TransientError(f"SES does not send for this account: {reason}"))
    if status in THROTTLED_STATUSES:
        return NotSent(ThrottledError(f"SES asks for a slower pace: {reason}"))
    return Refused(reason) if status in REFUSED_STATUSES else Unknown(f"SES gave an unexpected answer: {reason}")


def _is_about_account(reason: str) -> bool:
    return any(words in reason for words in ACCOUNT_MESSAGES)


def _is_about_call(error: Exception) -> bool:
    if not isinstance(error, ClientError):
        # An older botocore does not know all parameters.
        return isinstance(error, ParamValidationError)
    code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in THROTTLED_CODES | ACCOUNT_CODES or _is_about_account(error.response["Error"].get("Message", "")):
        return False
    # 501: the endpoint does not have the operation.
    return status < 500 or status == 501


def _too_large(request: Mapping[str, Any]) -> str | None:
    headers = (header for entry in request["BulkEmailEntries"] for header in entry.get("ReplacementHeaders", ()))
    if any(len(header["Value"]) > MAX_HEADER for header in headers):
        return f"a header is longer than {MAX_HEADER} characters"
    if len(json.dumps(request)) > MAX_REQUEST:
        return f"the request is larger than {MAX_REQUEST} bytes"
    return None


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account's limits in SES: mails a second, mails a day, and whether it may send to any recipient."""

    rate: float
    daily: float
    sent_today: float
    is_sandboxed: bool
    is_enabled: bool


def mail_account(context: Context) -> Account:
    """Return the account's limits in SES, read once a process. Raises TransientError if SES does not return them."""
    return _account_of(context.client("sesv2"))


@cache
def _account_of(ses: SESV2Client) -> Account:
    return read_account(ses, clock=SYSTEM_CLOCK)


def read_account(ses: SESV2Client, *, clock: Clock) -> Account:
    """Return the account's quota and state. Raises TransientError if SES does not return them."""
    try:
        answer = _get_account(ses, clock)
        quota = answer["SendQuota"]
        account = Account(
            rate=quota["MaxSendRate"],
            daily=quota["Max24HourSend"],
            sent_today=quota["SentLast24Hours"],
            is_sandboxed=not answer["ProductionAccessEnabled"],
            is_enabled=answer["SendingEnabled"],
        )
    except (BotoCoreError, ClientError, KeyError) as error:
        raise TransientError(f"SES does not return the account's quota: {error}") from error
    if account.rate <= 0:
        raise TransientError("SES lets this account send nothing now: its maximum send rate is 0")
    return account


def _get_account(ses: SESV2Client, clock: Clock) -> GetAccountResponseTypeDef:
    for pause in ACCOUNT_PAUSES:
        try:
            return ses.get_account()
        except ClientError as error:
            if error.response["Error"]["Code"] not in THROTTLED_CODES:
                raise
            clock.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 (jitter, not a secret)
    return ses.get_account()
