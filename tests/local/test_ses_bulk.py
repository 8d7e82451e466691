"""The emulator's bulk call is as strict as SES, so that what passes here is no surprise there."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from nightshift.local.aws import LocalAws
from nightshift.local.environment import SENDER

VALUES = {"name": "Jane & {{name}}"}


def entry(data: dict[str, str] | None, **more: Any) -> dict[str, Any]:
    filled = {"ReplacementTemplate": {"ReplacementTemplateData": json.dumps(data)}}
    content = {} if data is None else {"ReplacementEmailContent": filled}
    return {"Destination": {"ToAddresses": ["jane@example.org"]}, **content, **more}


def send(aws: LocalAws, text: str = "Hello {{name}}", *entries: dict[str, Any], **template: Any) -> list[str]:
    content = {"Subject": "News", "Text": text}
    answer = aws.client("sesv2").send_bulk_email(
        FromEmailAddress=f"Harbour <{SENDER}>",
        DefaultContent={"Template": {"TemplateContent": content, "TemplateData": '{"name": "you"}', **template}},
        BulkEmailEntries=entries or [entry(VALUES)],
    )
    return [result["Status"] for result in answer["BulkEmailEntryResults"]]


def test_what_a_recipient_is_given_is_put_in_once_and_unescaped(aws: LocalAws) -> None:
    headers = [{"Name": "X-Whose", "Value": "Jane's"}]
    assert send(aws, "Hello {{name}}", entry(VALUES, ReplacementHeaders=headers)) == ["SUCCESS"]
    (mail,) = aws.sent()
    assert mail.recipient == "jane@example.org"
    head, _, body = mail.content.decode().partition("\r\n\r\n")
    assert body == "Hello Jane & {{name}}\r\n"
    assert {f"From: Harbour <{SENDER}>", "To: jane@example.org", "Subject: News", "X-Whose: Jane's"} <= set(
        head.split("\r\n")
    )


@pytest.mark.parametrize("data", [None, {}])
def test_who_is_given_nothing_has_the_templates_values(aws: LocalAws, data: dict[str, str] | None) -> None:
    send(aws, "Hello {{name}}", entry(data))
    assert b"Hello you" in aws.sent()[0].content


def test_a_mail_without_one_of_its_values_is_accepted_and_never_sent(aws: LocalAws) -> None:
    assert send(aws, "Hello {{name}}", entry({"nickname": "J"}), entry(VALUES)) == ["SUCCESS", "SUCCESS"]
    assert len(aws.sent()) == 1


@pytest.mark.parametrize(
    "text", ["{{first_name}}", "{{{name}}}", "{{#if name}}x{{/if}}", "{{a.b}}", "{{! x }}", "{{name", "\\{{name}}"]
)
def test_what_is_no_plain_variable_is_refused(aws: LocalAws, text: str) -> None:
    with pytest.raises(ClientError, match="unsupported operations"):
        send(aws, text)


@pytest.mark.parametrize(
    ("name", "value"), [("X-Long", "x" * 996), ("X-Long", "ü"), ("X:Y", "x"), ("X-Line", "a\r\nBcc: b@c.de")]
)
def test_a_header_that_breaks_the_services_model_is_refused(aws: LocalAws, name: str, value: str) -> None:
    with pytest.raises(ClientError, match="BadRequestException"):
        send(aws, "Hello", entry(VALUES, ReplacementHeaders=[{"Name": name, "Value": value}]))


def test_fifty_one_recipients_or_a_megabyte_are_too_much(aws: LocalAws) -> None:
    assert send(aws, "Hello", *[entry(VALUES)] * 50) == ["SUCCESS"] * 50
    with pytest.raises(ClientError, match="1 to 50 entries"):
        send(aws, "Hello", *[entry(VALUES)] * 51)
    with pytest.raises(ClientError, match="too large"):
        send(aws, "x" * 1_000_000)
    with pytest.raises(ClientError, match="has a length of 262145"):
        send(aws, "Hello", TemplateData="x" * 262_145)


def test_a_sender_that_is_not_verified_is_refused(aws: LocalAws) -> None:
    aws.client("sesv2").delete_email_identity(EmailIdentity=SENDER)
    with pytest.raises(ClientError, match="authority to send"):
        send(aws)
