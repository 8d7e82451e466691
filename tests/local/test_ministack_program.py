"""What the emulator asks IAM about a mail, as AWS asks it of an account in the sandbox."""

from typing import Any

import pytest

from nightshift.local.ministack_program import BULK, SINGLE, iam_checks
from tests.iam.authorization import exists, keys_of

PLACE = "arn:aws:ses:us-east-1:1"
MAIL: dict[str, Any] = {
    "FromEmailAddress": "Slow Harbour <digest@example.com>",
    "Destination": {"ToAddresses": ["reader@example.org"]},
    "ConfigurationSetName": "mail",
}
RAW: dict[str, Any] = {"Content": {"Raw": {"Data": ""}}}
SIMPLE: dict[str, Any] = {"Content": {"Simple": {}}}
IN_BULK: dict[str, Any] = {
    "BulkEmailEntries": [{"Destination": MAIL["Destination"]}],
    "DefaultContent": {"Template": {}},
}
NAMED = ["identity/digest@example.com", "identity/reader@example.org", "configuration-set/mail"]


@pytest.mark.parametrize(
    ("path", "content", "actions", "more"),
    [
        (SINGLE, RAW, ["ses:SendRawEmail"], []),
        (SINGLE, SIMPLE, ["ses:SendEmail"], []),
        (BULK, IN_BULK, ["ses:SendBulkEmail", "ses:SendBulkTemplatedEmail"], ["template/any"]),
    ],
)
def test_iam_is_asked_about_sender_recipients_and_whatever_a_mail_names(
    path: str, content: dict[str, Any], actions: list[str], more: list[str]
) -> None:
    asked = list(iam_checks(path, MAIL | content, place=PLACE))
    resources = [f"{PLACE}:{name}" for name in NAMED + more]
    assert [(action, resource) for action, resource, _ in asked] == [
        (action, resource) for action in actions for resource in resources
    ]
    for action, _, keys in asked:
        assert exists(action)
        assert keys == ({"ses:FromAddress": "digest@example.com"} if "ses:FromAddress" in keys_of(action) else {})
