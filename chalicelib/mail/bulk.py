"""Sending through SES in bulk: up to fifty mails a call, each of which SES accepts, refuses or puts off by itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ParamValidationError

from chalicelib.core.errors import ThrottledError, TransientError
from chalicelib.mail.mailer import (
    FAILURES,
    THROTTLED,
    Answer,
    NotSent,
    Refused,
    Sent,
    Unknown,
    is_about_account,
    read_failure,
)
from chalicelib.mail.template import Template

if TYPE_CHECKING:
    from types_boto3_sesv2 import SESV2Client

# Both as SES states them: recipients of a call, and bytes of a request with an inline template, 1 MB.
MOST, MOST_BYTES = 50, 1_000_000
MOST_IN_HEADER = 995
ACCOUNT_ERRORS = frozenset(
    {
        "AccountSuspendedException",
        "LimitExceededException",
        "MailFromDomainNotVerifiedException",
        "SendingPausedException",
    }
)
PUT_OFF = frozenset({"ACCOUNT_THROTTLED", "TRANSIENT_FAILURE"})
REFUSED = frozenset({"MESSAGE_REJECTED", "INVALID_PARAMETER", "FAILED"})
# The same for every recipient, as are the words of mailer.ABOUT_ACCOUNT.
HELD_UP = frozenset(
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


class DeclinedError(TransientError):
    """SES takes these mails one by one only, or none of them; the single call tells which. None was sent."""


class BulkMailer:
    """Sends several mails a call, until a call as such is declined: from then on none is made."""

    def __init__(self, ses: SESV2Client, *, configuration_set: str | None = None) -> None:
        self._ses = ses
        self._options: Any = {"ConfigurationSetName": configuration_set} if configuration_set else {}
        self.is_declined = False

    def send(self, template: Template, entries: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """Send to the entries that the template has made, at most fifty, and return an answer to each.

        Raises DeclinedError when SES or the size of the request rules out the call as such, and ThrottledError and
        TransientError as the single call does; in all these cases no mail was sent.
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
            return [read_failure(error)] * len(entries)
        if len(results) != len(entries):
            # Which of them each is about is told by its place alone.
            return [Unknown(f"SES gave {len(results)} answers to {len(entries)} mails")] * len(entries)
        return [_read(result) for result in results]

    def _decline(self, reason: str) -> None:
        self.is_declined = True
        raise DeclinedError(reason)


def _too_large(request: Mapping[str, Any]) -> str | None:
    headers = (header for entry in request["BulkEmailEntries"] for header in entry.get("ReplacementHeaders", ()))
    if any(len(header["Value"]) > MOST_IN_HEADER for header in headers):
        return f"a header is longer than {MOST_IN_HEADER} characters"
    if len(json.dumps(request)) > MOST_BYTES:
        return f"the request is larger than {MOST_BYTES} bytes"
    return None


def _is_about_call(error: Exception) -> bool:
    if not isinstance(error, ClientError):
        # Of an older botocore than this, which does not know all of the call.
        return isinstance(error, ParamValidationError)
    code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in THROTTLED | ACCOUNT_ERRORS or is_about_account(error.response["Error"].get("Message", "")):
        return False
    # 501: what answers there knows no such operation.
    return status < 500 or status == 501


def _read(result: Mapping[str, Any]) -> Answer:
    status, told = result.get("Status"), f"{result.get('Status')}: {result.get('Error', '')}"
    if status == "SUCCESS" and "MessageId" in result:
        return Sent(result["MessageId"])
    if status in HELD_UP or (status in REFUSED and is_about_account(told)):
        return NotSent(TransientError(f"SES does not send for this account: {told}"))
    if status in PUT_OFF:
        return NotSent(ThrottledError(f"SES asks for a slower pace: {told}"))
    return Refused(told) if status in REFUSED else Unknown(f"SES gave no answer that is understood: {told}")
