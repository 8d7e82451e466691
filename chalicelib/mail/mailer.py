"""Sending through SES, and telling apart what it accepted, refused, put off, and what nobody can know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from chalicelib.errors import ThrottledError, TransientError
from chalicelib.mail.pace import Pace

if TYPE_CHECKING:
    from types_boto3_sesv2 import SESV2Client

THROTTLED = frozenset({"TooManyRequestsException", "Throttling", "ThrottlingException", "ServiceUnavailable"})
REFUSED = frozenset({"MessageRejected", "BadRequestException", "InvalidParameterValue"})


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


class Mailer:
    """Sends one mail a call, at the given pace."""

    def __init__(self, ses: SESV2Client, *, pace: Pace) -> None:
        self._ses = ses
        self._pace = pace

    def send(self, mail: bytes, *, sender: str, to: str) -> Sent | Refused | Unknown:
        """Send a mail in MIME form to one plain address.

        Raises ThrottledError when SES asks for a slower pace, TransientError when the account or the connection
        cannot send at all; in both cases the mail was certainly not sent.
        """
        self._pace.wait()
        try:
            answer = self._ses.send_email(
                FromEmailAddress=sender, Destination={"ToAddresses": [to]}, Content={"Raw": {"Data": mail}}
            )
        except ClientError as error:
            return _read_refusal(error)
        except (EndpointConnectionError, ConnectTimeoutError) as error:
            raise TransientError(f"SES cannot be reached: {error}") from error
        except BotoCoreError as error:
            return Unknown(f"no answer from SES: {error}")
        return Sent(answer["MessageId"])


def _read_refusal(error: ClientError) -> Refused | Unknown:
    code, reason = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    about_account = "not verified" in reason or "authority" in reason or "Daily" in reason
    if code in THROTTLED and not about_account:
        raise ThrottledError(f"SES asks for a slower pace: {reason}") from error
    if code in REFUSED and not about_account:
        return Refused(f"{code}: {reason}")
    if error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500 and code not in THROTTLED:
        return Unknown(f"SES failed: {code}: {reason}")
    # Paused, suspended, over the daily quota, sender not verified, no permission: the same for every recipient.
    raise TransientError(f"SES does not send for this account: {code}: {reason}") from error


@dataclass(frozen=True, kw_only=True)
class Account:
    """What SES lets the account do: mails a second, mails a day, and whether to any recipient at all."""

    rate: float
    daily: float
    sent_today: float
    is_sandboxed: bool
    is_enabled: bool


def read_account(ses: SESV2Client) -> Account:
    """Return the account's quota and state. Raises TransientError when SES does not say."""
    try:
        answer = ses.get_account()
        quota = answer["SendQuota"]
        return Account(
            rate=quota["MaxSendRate"],
            daily=quota["Max24HourSend"],
            sent_today=quota["SentLast24Hours"],
            is_sandboxed=not answer["ProductionAccessEnabled"],
            is_enabled=answer["SendingEnabled"],
        )
    except (BotoCoreError, ClientError, KeyError) as error:
        raise TransientError(f"SES does not tell the account's quota: {error}") from error
