"""Single calls to SES: sent, refused, unknown and not sent, and the account's quota."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber

from chalicelib.core.errors import TransientError
from chalicelib.mail.ses import Account, Mailer, Refused, Sent, ThrottledError, Unknown, read_account
from nightshift.testkit.clock import FrozenClock
from tests.mail.ses_server import Connect, server
from tests.world import MORNING

if TYPE_CHECKING:
    from types_boto3_sesv2 import SESV2Client

CLOCK = FrozenClock(MORNING)
MAIL = b"From: digest@example.org\r\n\r\n"
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n{"MessageId": "ses-1"}'
ACCOUNT = {
    "SendQuota": {"MaxSendRate": 14.0, "Max24HourSend": 50_000.0, "SentLast24Hours": 7.0},
    "ProductionAccessEnabled": True,
    "SendingEnabled": True,
}


def send(ses: SESV2Client) -> Sent | Refused | Unknown:
    return Mailer(ses).send(MAIL, sender="digest@example.org", to="jane@example.org")


def test_accepted_mail_has_ses_id_and_one_recipient(ses: SESV2Client, stub: Stubber) -> None:
    stub.add_response(
        "send_email",
        {"MessageId": "ses-1"},
        {
            "FromEmailAddress": "digest@example.org",
            "Destination": {"ToAddresses": ["jane@example.org"]},
            "Content": {"Raw": {"Data": MAIL}},
        },
    )
    assert send(ses) == Sent("ses-1")


@pytest.mark.parametrize(
    ("code", "message", "status"),
    [
        ("TooManyRequestsException", "Maximum sending rate exceeded.", 429),
        ("TooManyRequestsException", "Too Many Requests", 429),
        ("Throttling", "Maximum sending rate exceeded.", 400),
        ("ThrottlingException", "Rate exceeded", 400),
        ("ServiceUnavailable", "Service is unavailable", 503),
    ],
)
def test_throttling_raises_throttled_error(
    ses: SESV2Client, stub: Stubber, code: str, message: str, status: int
) -> None:
    stub.add_client_error("send_email", code, message, status)
    with pytest.raises(ThrottledError, match=message):
        send(ses)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("MessageRejected", "Email contains a virus."),
        ("MessageRejected", "Address blacklisted."),
        ("BadRequestException", "Local address contains control or whitespace"),
        ("BadRequestException", "Domain ends with dot"),
        ("InvalidParameterValue", "Illegal address"),
    ],
)
def test_rejected_mail_is_refused(ses: SESV2Client, stub: Stubber, code: str, message: str) -> None:
    stub.add_client_error("send_email", code, message, 400)
    assert send(ses) == Refused(f"{code}: {message}")


@pytest.mark.parametrize(
    ("code", "message", "status"),
    [
        ("AccountSuspendedException", "Account is suspended", 400),
        ("SendingPausedException", "Sending is paused", 400),
        ("MailFromDomainNotVerifiedException", "Domain is not verified", 400),
        ("LimitExceededException", "Limit exceeded", 400),
        ("NotFoundException", "Configuration set does not exist", 404),
        ("AccessDeniedException", "User is not authorized to perform ses:SendEmail", 403),
        ("ExpiredTokenException", "The security token included in the request is expired", 403),
        ("SignatureDoesNotMatch", "Signature expired", 403),
        ("TooManyRequestsException", "Daily message quota exceeded.", 429),
        ("Throttling", "Daily message quota exceeded.", 400),
        ("MessageRejected", "Email address is not verified. The following identities failed the check", 400),
        (
            "MessageRejected",
            "Sending paused for this account. For more information, please check the inbox of the email address "
            "associated with your AWS account.",
            400,
        ),
    ],
)
def test_account_error_is_transient_and_not_throttling(
    ses: SESV2Client, stub: Stubber, code: str, message: str, status: int
) -> None:
    stub.add_client_error("send_email", code, message, status)
    with pytest.raises(TransientError) as caught:
        send(ses)
    assert not isinstance(caught.value, ThrottledError)
    assert str(caught.value) == f"SES does not send for this account: {code}: {message}"


@pytest.mark.parametrize(
    ("code", "status"), [("InternalServiceErrorException", 500), ("InternalFailure", 500), ("502", 502), ("504", 504)]
)
def test_server_error_leaves_mail_unknown(ses: SESV2Client, stub: Stubber, code: str, status: int) -> None:
    stub.add_client_error("send_email", code, "oh", status)
    assert send(ses) == Unknown(f"SES failed: {code}: oh")


def test_refusal_without_message_is_read(ses: SESV2Client, stub: Stubber) -> None:
    stub.add_client_error("send_email", "MessageRejected", http_status_code=400)
    assert send(ses) == Refused("MessageRejected: ")


def test_refused_connection_sends_no_mail(connect: Connect) -> None:
    # Bound and not listening: no other process can take the port, and it refuses connections.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(TransientError, match="SES cannot be reached"):
            send(connect(f"http://127.0.0.1:{closed.getsockname()[1]}"))


def test_missing_credentials_send_no_mail(connect: Connect) -> None:
    with server(OK) as (url, requests), pytest.raises(TransientError):
        send(connect(url, key=None))
    assert requests == []


def test_invalid_parameter_sends_no_mail(ses: SESV2Client, stub: Stubber) -> None:
    wrong: Any = None
    mailer = Mailer(ses)
    with pytest.raises(TransientError):
        mailer.send(MAIL, sender=wrong, to="jane@example.org")


def test_answer_means_sent(connect: Connect) -> None:
    with server(OK) as (url, requests):
        assert send(connect(url)) == Sent("ses-1")
    assert len(requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n",
        OK[:-10],
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>hi</html>",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>hi</html>",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"no HTTP at all\r\n",
    ],
    ids=["silence", "hang-up", "no-body", "half-a-body", "html", "502", "500", "garbage"],
)
def test_lost_answer_is_unknown_and_not_repeated(connect: Connect, answer: bytes | None) -> None:
    with server(answer) as (url, requests):
        assert isinstance(send(connect(url, read_timeout=0.3)), Unknown)
    assert len(requests) == 1


def test_account_is_read_from_ses(ses: SESV2Client, stub: Stubber) -> None:
    stub.add_response("get_account", ACCOUNT)
    assert read_account(ses, clock=CLOCK) == Account(
        rate=14.0, daily=50_000.0, sent_today=7.0, is_sandboxed=False, is_enabled=True
    )


@pytest.mark.parametrize("missing", ["SendQuota", "ProductionAccessEnabled", "SendingEnabled"])
def test_incomplete_account_is_transient(ses: SESV2Client, stub: Stubber, missing: str) -> None:
    stub.add_response("get_account", {key: value for key, value in ACCOUNT.items() if key != missing})
    with pytest.raises(TransientError, match=missing):
        read_account(ses, clock=CLOCK)


def test_zero_rate_is_transient(ses: SESV2Client, stub: Stubber) -> None:
    quota = {"MaxSendRate": 0.0, "Max24HourSend": 0.0, "SentLast24Hours": 0.0}
    stub.add_response("get_account", {**ACCOUNT, "SendQuota": quota})
    with pytest.raises(TransientError):
        read_account(ses, clock=CLOCK)


def test_denied_account_request_is_transient(ses: SESV2Client, stub: Stubber) -> None:
    stub.add_client_error("get_account", "AccessDeniedException", "not authorized to perform ses:GetAccount", 403)
    with pytest.raises(TransientError, match="not authorized to perform ses:GetAccount"):
        read_account(ses, clock=CLOCK)


def test_unanswered_account_request_is_transient(connect: Connect) -> None:
    with server(b"") as (url, _), pytest.raises(TransientError, match="does not return the account's quota"):
        read_account(connect(url), clock=CLOCK)


def test_throttled_account_request_is_retried(ses: SESV2Client, stub: Stubber) -> None:
    clock = FrozenClock(MORNING)
    for _ in range(3):
        stub.add_client_error("get_account", "TooManyRequestsException", "Too Many Requests", 429)
    stub.add_response("get_account", ACCOUNT)
    assert read_account(ses, clock=clock).rate == 14.0
    assert len(clock.slept) == 3
    # The handler of a mail has half a minute for the call to SES itself.
    assert sum(clock.slept) < 6
