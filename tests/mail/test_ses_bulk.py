"""Bulk calls to SES: the result of each mail, declined calls and lost answers."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from botocore.stub import Stubber

from chalicelib.core.errors import TransientError
from chalicelib.mail.letter import Composition, SesTemplate
from chalicelib.mail.ses import BulkDeclinedError, Mailer, NotSent, Refused, SendResult, Sent, ThrottledError, Unknown
from tests.mail.ses_server import Connect, server

if TYPE_CHECKING:
    from types_boto3_sesv2 import SESV2Client

COMPOSITION = Composition(subject="News", html=(), text=("Hello ", "name", ""))
TEMPLATE = SesTemplate(COMPOSITION, sender_name="Slow Harbour", sender="digest@example.org")
ENTRIES = [TEMPLATE.entry(f"{name}@example.org", {"name": name}) for name in ("ann", "bob")]
BODY = b'{"BulkEmailEntryResults": [{"Status": "SUCCESS", "MessageId": "1"}, {"Status": "SUCCESS", "MessageId": "2"}]}'
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


def send(ses: SESV2Client) -> list[SendResult]:
    return Mailer(ses).send_bulk(TEMPLATE, ENTRIES)


def test_bulk_call_returns_result_for_each_mail(ses: SESV2Client, stub: Stubber) -> None:
    results = [{"Status": "SUCCESS", "MessageId": "1"}, {"Status": "MESSAGE_REJECTED", "Error": "a virus"}]
    call = {
        "FromEmailAddress": "Slow Harbour <digest@example.org>",
        "DefaultContent": {"Template": TEMPLATE.content},
        "BulkEmailEntries": ENTRIES,
        "ConfigurationSetName": "nightshift-dev-mail",
    }
    stub.add_response("send_bulk_email", {"BulkEmailEntryResults": results}, call)
    mailer = Mailer(ses, configuration_set="nightshift-dev-mail")
    assert mailer.send_bulk(TEMPLATE, ENTRIES) == [Sent("1"), Refused("MESSAGE_REJECTED: a virus")]
    assert not mailer.is_bulk_declined


@pytest.mark.parametrize("status", ["ACCOUNT_THROTTLED", "TRANSIENT_FAILURE"])
def test_throttled_entry_is_not_sent_and_asks_for_slower_pace(ses: SESV2Client, stub: Stubber, status: str) -> None:
    results: list[Any] = [{"Status": status, "Error": "oh"}, {"Status": "SUCCESS", "MessageId": "2"}]
    stub.add_response("send_bulk_email", {"BulkEmailEntryResults": results})
    put_off, sent = send(ses)
    assert isinstance(put_off, NotSent)
    assert isinstance(put_off.error, ThrottledError)
    assert sent == Sent("2")


@pytest.mark.parametrize(
    ("code", "message", "status"),
    [
        ("TooManyRequestsException", "Maximum sending rate exceeded.", 429),
        ("Throttling", "Maximum sending rate exceeded.", 400),
        ("ServiceUnavailable", "Service is unavailable", 503),
    ],
)
def test_throttled_bulk_call_raises_throttled_error(
    ses: SESV2Client, stub: Stubber, code: str, message: str, status: int
) -> None:
    stub.add_client_error("send_bulk_email", code, message, status)
    with pytest.raises(ThrottledError, match=message):
        send(ses)


@pytest.mark.parametrize(
    ("code", "message", "status"),
    [
        ("AccountSuspendedException", "Account is suspended", 400),
        ("SendingPausedException", "Sending is paused", 400),
        ("MailFromDomainNotVerifiedException", "Domain is not verified", 400),
        ("LimitExceededException", "Limit exceeded", 400),
        ("TooManyRequestsException", "Daily message quota exceeded.", 429),
        ("MessageRejected", "Email address is not verified.", 400),
    ],
)
def test_account_error_stops_bulk_call_without_declining_bulk(
    ses: SESV2Client, stub: Stubber, code: str, message: str, status: int
) -> None:
    stub.add_client_error("send_bulk_email", code, message, status)
    mailer = Mailer(ses)
    with pytest.raises(TransientError, match=message) as caught:
        mailer.send_bulk(TEMPLATE, ENTRIES)
    assert type(caught.value) is TransientError
    assert not mailer.is_bulk_declined


@pytest.mark.parametrize(
    ("code", "message", "status"),
    [
        ("AccessDeniedException", "not authorized to perform ses:SendBulkEmail", 403),
        ("BadRequestException", "Template contains unsupported operations.", 400),
        ("MessageRejected", "Email contains a virus.", 400),
        ("NotFoundException", "Configuration set does not exist", 404),
        ("404", "<html>", 404),
        ("NotImplemented", "oh", 501),
    ],
)
def test_rejected_bulk_call_is_declined(ses: SESV2Client, stub: Stubber, code: str, message: str, status: int) -> None:
    stub.add_client_error("send_bulk_email", code, message, status)
    mailer = Mailer(ses)
    with pytest.raises(BulkDeclinedError, match=message):
        mailer.send_bulk(TEMPLATE, ENTRIES)
    assert mailer.is_bulk_declined


def test_parameter_unknown_to_older_botocore_declines_bulk(ses: SESV2Client) -> None:
    with pytest.raises(BulkDeclinedError, match="Unknown parameter"):
        Mailer(ses).send_bulk(TEMPLATE, [*ENTRIES, {"Destination": {}, "Newer": "than this"}])


@pytest.mark.parametrize("results", [[], [{"Status": "SUCCESS", "MessageId": "1"}]])
def test_missing_results_leave_all_mails_unknown(ses: SESV2Client, stub: Stubber, results: list[Any]) -> None:
    stub.add_response("send_bulk_email", {"BulkEmailEntryResults": results})
    assert send(ses) == [Unknown(f"SES gave {len(results)} answers to 2 mails")] * 2


@pytest.mark.parametrize(("code", "status"), [("InternalFailure", 500), ("502", 502), ("504", 504)])
def test_server_error_leaves_all_bulk_mails_unknown(ses: SESV2Client, stub: Stubber, code: str, status: int) -> None:
    stub.add_client_error("send_bulk_email", code, "oh", status)
    assert send(ses) == [Unknown(f"SES failed: {code}: oh")] * 2


def test_refused_connection_sends_no_bulk_mail(connect: Connect) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(TransientError, match="SES cannot be reached"):
            send(connect(f"http://127.0.0.1:{closed.getsockname()[1]}"))


def test_bulk_answer_means_sent(connect: Connect) -> None:
    with server(OK) as (url, requests):
        assert send(connect(url)) == [Sent("1"), Sent("2")]
    assert len(requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"",
        OK[:-10],
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<html>hi</html>",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["silence", "hang-up", "half-a-body", "html", "500"],
)
def test_lost_bulk_answer_is_unknown_and_not_repeated(connect: Connect, answer: bytes | None) -> None:
    with server(answer) as (url, requests):
        answers = send(connect(url, read_timeout=0.3))
    assert {type(each) for each in answers} == {Unknown}
    assert (len(answers), len(requests)) == (2, 1)
