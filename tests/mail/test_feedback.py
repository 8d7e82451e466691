"""Bounces and complaints: what they suppress, what counts once and what is refused."""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event as database_event
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from chalicelib.application import users
from chalicelib.core.clock import from_ms, iso
from chalicelib.core.config import Environment
from chalicelib.core.errors import ConfigurationError, RunFailedError
from chalicelib.mail import feedback
from chalicelib.mail.settings import MailSettings
from chalicelib.schema import suppressions
from nightshift.local.invocation import invoke
from nightshift.testkit.kit import Kit
from tests.world import World

Log = Callable[[], list[dict[str, Any]]]
Message = dict[str, Any]

MOMENT = "2016-08-03T08:15:02.669Z"
# The two formats, by the key that says what a message is about.
FORMATS = ("notificationType", "eventType")
every_format = pytest.mark.parametrize("format_", FORMATS)


def mail(*to: str, id_: str = "0100015f-1") -> Message:
    return {
        "timestamp": "2016-08-03T08:15:01.000Z",
        "source": "Slow Harbour <digest@slow-harbour.example>",
        "messageId": id_,
        "destination": list(to),
        "headersTruncated": False,
        "tags": {"ses:configuration-set": ["nightshift-dev-mail"]},
    }


def bounce(
    *to: str, format_: str = "eventType", type_: str = "Permanent", id_: str = "0100015f-1", at: str = MOMENT
) -> Message:
    recipients = [
        {"emailAddress": each, "action": "failed", "status": "5.1.1", "diagnosticCode": f"smtp; 550 {each} is unknown"}
        for each in to
    ]
    about = {
        "bounceType": type_,
        "bounceSubType": "General",
        "bouncedRecipients": recipients,
        "timestamp": at,
        "feedbackId": f"{id_}-{format_}",
        "reportingMTA": "dsn; a8-70.smtp-out.amazonses.com",
    }
    return {format_: "Bounce", "mail": mail(*to, id_=id_), "bounce": about}


def complaint(*to: str, format_: str = "eventType", id_: str = "0100015f-1", **changed: Any) -> Message:
    about = {
        "complainedRecipients": [{"emailAddress": each} for each in to],
        "complaintFeedbackType": "abuse",
        "complaintSubType": None,
        "userAgent": "AnyCompany Feedback Loop (V0.01)",
        "timestamp": MOMENT,
        "feedbackId": f"{id_}-{format_}",
    }
    return {format_: "Complaint", "mail": mail(*to, id_=id_), "complaint": about | changed}


def sns(*messages: Message | str, **changed: Any) -> dict[str, Any]:
    """Return what Lambda is given for messages that were published."""
    return {
        "Records": [
            {
                "EventSource": "aws:sns",
                "EventVersion": "1.0",
                "EventSubscriptionArn": "arn:aws:sns:us-east-1:123456789012:nightshift-dev-mail-feedback:1",
                "Sns": {
                    "Type": "Notification",
                    "MessageId": "1",
                    "TopicArn": "arn:aws:sns:us-east-1:123456789012:nightshift-dev-mail-feedback",
                    "Subject": None,
                    "Message": message if isinstance(message, str) else json.dumps(message),
                    "MessageAttributes": {},
                    **changed,
                },
            }
            for message in messages
        ]
    }


def deliver(world: World, *messages: Message | str) -> tuple[int, int, int]:
    """Deliver messages, and return how many recipients were new, recorded before, and unreadable."""
    summary = feedback.receive(sns(*messages), world.context())
    return summary["succeeded"], summary["skipped"], summary["failed"]


def refusal(world: World, event: object) -> str:
    """Return the error message with which an event is refused, having recorded nothing."""
    with pytest.raises(RunFailedError) as refused:
        feedback.receive(event, world.context())
    assert world.execute(select(suppressions)) == []
    assert "\n" not in str(refused.value)
    return str(refused.value)


def suppressed(world: World) -> dict[str, str]:
    query = select(suppressions).where(suppressions.c.suppressed_at.is_not(None))
    return {row.address: row.reason for row in world.execute(query)}


def subscribed_addresses(world: World) -> list[str]:
    query = select(users.c.email).where(users.c.email_digest.is_(True)).order_by(users.c.email)
    return [row.email for row in world.execute(query)]


@every_format
def test_permanent_bounce_suppresses_without_opting_out(world: World, format_: str) -> None:
    world.add_users(2)
    assert deliver(world, bounce("user0@example.com", format_=format_)) == (1, 0, 0)
    assert suppressed(world) == {"user0@example.com": "permanent bounce"}
    assert subscribed_addresses(world) == ["user0@example.com", "user1@example.com"]
    world.add_posts("Hello")
    world.fire()
    world.drain()
    assert world.recipients() == ["user1@example.com"]


@every_format
def test_complaint_suppresses_and_opts_out_only(world: World, format_: str) -> None:
    world.add_users(2)
    before = {row.email: row._asdict() for row in world.execute(select(users))}
    assert deliver(world, complaint("user0@example.com", format_=format_)) == (1, 0, 0)
    assert suppressed(world) == {"user0@example.com": "complaint"}
    before["user0@example.com"]["email_digest"] = False
    assert {row.email: row._asdict() for row in world.execute(select(users))} == before


@every_format
@pytest.mark.parametrize("type_", ["Transient", "Undetermined", "Quite new"])
def test_fifth_transient_bounce_suppresses(world: World, format_: str, type_: str) -> None:
    for number in range(5):
        assert suppressed(world) == {}
        message = bounce("user0@example.com", format_=format_, type_=type_, id_=f"mail-{number}")
        assert deliver(world, message) == (1, 0, 0)
    assert suppressed(world) == {"user0@example.com": "transient bounce"}


def test_old_or_future_bounce_does_not_stay_recent(world: World) -> None:
    for number, at in enumerate(["0001-01-01T00:00:00Z", "2016-07-20T08:00:00Z", "9999-12-31T23:59:59Z"]):
        deliver(world, bounce("user0@example.com", type_="Transient", id_=f"mail-{number}", at=at))
    world.clock.advance(timedelta(days=15).total_seconds())
    for number in range(4):
        at = iso(from_ms(world.clock.now_ms()))
        deliver(world, bounce("user0@example.com", type_="Transient", id_=f"later-{number}", at=at))
    assert suppressed(world) == {}


@pytest.mark.parametrize("timestamp", [None, "absent"])
def test_missing_timestamp_means_now(world: World, timestamp: str | None) -> None:
    for number in range(5):
        message = bounce("user0@example.com", type_="Transient", id_=f"mail-{number}")
        message["bounce"]["timestamp"] = timestamp
        if timestamp == "absent":
            del message["bounce"]["timestamp"]
        deliver(world, message)
    assert suppressed(world) == {"user0@example.com": "transient bounce"}


@pytest.mark.parametrize("make", [bounce, complaint])
def test_same_feedback_in_both_formats_counts_once(world: World, make: Callable[..., Message]) -> None:
    first, other = (make("user0@example.com", format_=format_) for format_ in FORMATS)
    assert deliver(world, first) == (1, 0, 0)
    before = world.execute(select(suppressions))
    for _ in range(4):
        assert deliver(world, first, other) == (0, 2, 0)
    assert world.execute(select(suppressions)) == before


def test_repeated_complaint_keeps_new_opt_in(world: World) -> None:
    world.add_users(1)
    deliver(world, complaint("user0@example.com"))
    world.execute(update(users).values(email_digest=True))
    assert deliver(world, complaint("user0@example.com")) == (0, 1, 0)
    assert subscribed_addresses(world) == ["user0@example.com"]


@pytest.mark.parametrize(
    ("stored", "sent", "reported"),
    [
        ("jane@example.org", "jane@example.org", "JANE@Example.ORG"),
        ("Jane@Example.org", "Jane@Example.org", "jane@example.org"),
        ("jane@example.org", "jane@example.org", "Jane <jane@example.org>"),
        ("jane@example.org", "jane@example.org", '"Doe, Jane <j>" <jane@example.org>'),
        ("jane@example.org", "jane@example.org", "<jane@example.org>"),
        ("jane@example.org", "jane@example.org", " jane@example.org\r\n"),
        ("jane@bücher.example", "jane@xn--bcher-kva.example", "jane@xn--bcher-kva.example"),
    ],
)
def test_address_is_recognised_in_any_spelling(world: World, stored: str, sent: str, reported: str) -> None:
    world.add_users(1, email=stored)
    world.add_users(1, prefix="other")
    message = complaint(reported)
    message["mail"]["destination"] = [sent]
    assert deliver(world, message) == (1, 0, 0)
    assert subscribed_addresses(world) == ["other0@example.com"]
    world.execute(update(users).values(email_digest=True))
    world.add_posts("Hello")
    world.fire()
    world.drain()
    assert world.recipients() == ["other0@example.com"]


@pytest.mark.parametrize("stored", ["josé@example.org", "jose@éxample.org"])
def test_complaint_does_not_opt_out_accented_address(world: World, stored: str) -> None:
    # MySQL's collations treat the two as equal.
    world.add_users(1, email=stored)
    assert deliver(world, complaint("jose@example.org")) == (1, 0, 0)
    assert subscribed_addresses(world) == [stored]


def test_complaint_of_unknown_user_suppresses(world: World) -> None:
    message = complaint("user0@example.com")
    del message["mail"]["destination"]
    assert deliver(world, message) == (1, 0, 0)
    assert suppressed(world) == {"user0@example.com": "complaint"}


CUT_OFF = {"emailAddress": "jane.doe@example"}
UNREADABLE: list[Any] = [
    CUT_OFF,
    {"emailAddress": "jane.doe@example.org, eve@example.org"},
    {"emailAddress": "jane.doe@x@example.org"},
    {"emailAddress": "<jane.doe@example.org>, <eve@example.org>"},
    {"emailAddress": "jane.doe@example.org, eve <eve@example.org>"},
    {"emailAddress": "jane.doe@exa\ud800mple.org"},
    {"emailAddress": "jane.doe@example.org\x00"},
    {"emailAddress": "jané.doe@example.org"},
    {"emailAddress": "jane.doe" * 100_00},
    {"emailAddress": ["jane.doe@example.org"]},
    {"emailAddress": None},
    {"address": "jane.doe@example.org"},
    "jane.doe@example.org",
    None,
]


@every_format
@pytest.mark.parametrize("make", [bounce, complaint])
@pytest.mark.parametrize("unreadable", UNREADABLE, ids=lambda item: ascii(item)[:50])
def test_unreadable_recipient_does_not_stop_others_and_is_not_logged(
    world: World, log: Log, make: Callable[..., Message], unreadable: Any, format_: str
) -> None:
    message = make("user0@example.com", "user1@example.com", format_=format_)
    part, recipients = ("bounce", "bouncedRecipients") if make is bounce else ("complaint", "complainedRecipients")
    message[part][recipients].insert(1, unreadable)
    assert deliver(world, message) == (2, 0, 1)
    assert set(suppressed(world)) == {"user0@example.com", "user1@example.com"}
    lines = log()
    assert [line["message"] for line in lines if line.get("level") == "WARNING"] == ["feedback without a plain address"]
    assert "jane" not in json.dumps(lines)


@pytest.mark.parametrize("address", ["o'brien+{x}=y@example.org", "a@b.example.org", "x.y_z@xn--bcher-kva.example"])
def test_log_shows_no_address(world: World, log: Log, address: str) -> None:
    message = bounce(address, id_=f"of {address}")
    deliver(world, message)
    deliver(world, message)
    lines = json.dumps(log())
    assert address not in lines
    assert f"{address[0]}***@{address.partition('@')[2]}" in lines


def test_message_may_have_fifty_recipients(world: World) -> None:
    message = bounce(*(f"user{number}@example.com" for number in range(50)))
    assert deliver(world, message) == (50, 0, 0)
    assert len(suppressed(world)) == 50


@pytest.mark.parametrize("count", [51, 5000])
def test_message_with_more_recipients_is_refused(world: World, count: int) -> None:
    message = complaint(*(f"user{number}@example.com" for number in range(count)))
    assert "a mail of SES has at most 50 recipients" in refusal(world, sns(message))
    message["complaint"]["complainedRecipients"] = [{"emailAddress": "user0@example.com"}]
    assert "a mail of SES has at most 50 recipients" in refusal(world, sns(message))


def without(message: Message, *path: str) -> Message:
    changed = node = copy.deepcopy(message)
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return changed


def replaced(message: Message, value: Any, *path: str) -> Message:
    changed = node = copy.deepcopy(message)
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return changed


GOOD = bounce("user0@example.com")


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("", "Expecting value"),
        ("Hello", "Expecting value"),
        ("\ud800", "Expecting value"),
        ("[" * 100_000, "it nests too deeply"),
        ('{"a":' * 100_000, "it nests too deeply"),
        ("null", "Expected `object`, got `null`"),
        ("[]", "Expected `object`, got `array`"),
        ('"Bounce"', "Expected `object`, got `str`"),
        ({}, "neither a notificationType nor an eventType"),
        ({"notificationType": "", "eventType": None}, "neither a notificationType nor an eventType"),
        ({"eventType": 5}, "Expected `str | null`, got `int` - at `$.eventType`"),
        ({"eventType": "Bounce"}, "missing required field `mail`"),
        (without(GOOD, "mail"), "missing required field `mail`"),
        (without(GOOD, "mail", "messageId"), "missing required field `messageId` - at `$.mail`"),
        (without(GOOD, "bounce"), "missing required field `bounce`"),
        (without(GOOD, "bounce", "bounceType"), "missing required field `bounceType`"),
        (without(GOOD, "bounce", "bouncedRecipients"), "missing required field `bouncedRecipients`"),
        (replaced(GOOD, None, "bounce"), "Expected `object`, got `null` - at `$.bounce`"),
        (replaced(GOOD, [], "mail"), "Expected `object`, got `array` - at `$.mail`"),
        (replaced(GOOD, "", "mail", "messageId"), "length >= 1 - at `$.mail.messageId`"),
        (replaced(GOOD, 5, "mail", "messageId"), "got `int` - at `$.mail.messageId`"),
        (replaced(GOOD, "user0@example.com", "mail", "destination"), "got `str` - at `$.mail.destination`"),
        (replaced(GOOD, {}, "bounce", "bouncedRecipients"), "got `object` - at `$.bounce.bouncedRecipients`"),
        (replaced(GOOD, "yesterday", "bounce", "timestamp"), "Invalid RFC3339"),
        (replaced(GOOD, "2016-08-03T08:15:02", "bounce", "timestamp"), "timezone"),
        (complaint("user0@example.com") | {"eventType": "Bounce"}, "missing required field `bounce`"),
        (replaced(complaint("a@b.cd"), 5, "complaint", "complaintFeedbackType"), "`$.complaint.complaintFeedbackType`"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_malformed_message_fails_with_one_sentence(world: World, log: Log, message: Message | str, reason: str) -> None:
    sentence = refusal(world, sns(message))
    assert sentence.startswith("mail_feedback dead: what was published is not valid: ")
    assert reason in sentence
    assert len(sentence) < 300
    summary, _ = log()
    assert (summary["task"], summary["outcome"], summary["level"]) == ("mail_feedback", "dead", "ERROR")


def test_refusal_shows_no_address(world: World, log: Log) -> None:
    sentence = refusal(world, sns(replaced(GOOD, "jane.doe@example.org", "bounce")))
    assert "jane" not in sentence + json.dumps(log())


@pytest.mark.parametrize(
    "event",
    [
        {},
        None,
        [],
        "Bounce",
        {"Records": None},
        {"Records": []},
        {"Records": [None]},
        {"Records": [{}]},
        {"Records": [{"Sns": None}]},
        {"Records": [{"Sns": {}}]},
        {"Records": [{"Sns": {"Message": GOOD}}]},
        {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(GOOD)}]},
        GOOD,
    ],
    ids=lambda event: ascii(event)[:40],
)
def test_event_of_another_service_is_refused_with_one_sentence(world: World, event: object) -> None:
    with pytest.raises(RunFailedError) as refused:
        invoke("mail_feedback", event)
    assert str(refused.value) in {
        "mail_feedback dead: mail_feedback takes what SES publishes to its topic, and this is no event of SNS",
        "mail_feedback dead: a record of the event is not of SNS: it has no Sns.Message",
    }
    assert world.execute(select(suppressions)) == []


def test_sns_event_passes_through_the_function(world: World) -> None:
    summary = invoke("mail_feedback", sns(bounce("user0@example.com")))
    assert (summary["task"], summary["outcome"], summary["total"]) == ("mail_feedback", "succeeded", 1)
    assert suppressed(world) == {"user0@example.com": "permanent bounce"}


def test_event_with_only_required_keys_is_accepted(world: World) -> None:
    # An event written by hand or from the queue of failed fires: Chalice alone fails without the subject.
    event = {"Records": [{"Sns": {"Message": json.dumps(bounce("user0@example.com"))}}]}
    assert invoke("mail_feedback", event)["succeeded"] == 1


def test_unreadable_record_fails_whole_event(world: World) -> None:
    first, second = bounce("user0@example.com"), complaint("user1@example.com", id_="other")
    refusal(world, sns(first, "no JSON", second))
    assert deliver(world, first, second) == (2, 0, 0)


TRIAL = "Successfully validated SNS topic for Amazon SES event publishing."
SUBSCRIBED = {"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have successfully subscribed."}


@pytest.mark.parametrize(
    ("event", "type_"),
    [
        *(
            (sns({format_: type_, "mail": mail("user0@example.com")}), type_)
            for format_ in FORMATS
            for type_ in ("Delivery", "Send", "Reject", "Open", "Click", "Rendering Failure", "DeliveryDelay")
        ),
        (sns({"notificationType": "Received", "mail": None}), "Received"),
        (sns({"eventType": "Bounce\n" * 100}), ("Bounce " * 100)[:64]),
        (sns(SUBSCRIBED), "AmazonSnsSubscriptionSucceeded"),
        (sns(TRIAL), "SES tests the topic"),
        (sns("You have chosen to subscribe …", Type="SubscriptionConfirmation"), "SubscriptionConfirmation"),
        (sns("You have chosen to leave …", Type="UnsubscribeConfirmation"), "UnsubscribeConfirmation"),
        (sns(complaint("user0@example.com", complaintFeedbackType="not-spam")), "not-spam"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_other_feedback_is_ignored_and_logged(world: World, log: Log, event: dict[str, Any], type_: str) -> None:
    world.add_users(1)
    summary = feedback.receive(event, world.context())
    assert (summary["outcome"], summary["total"]) == ("succeeded", 0)
    line = log()[0]
    assert (line["message"], line["type"]) == ("feedback ignored", type_)
    assert world.execute(select(suppressions)) == []
    assert subscribed_addresses(world) == ["user0@example.com"]


@pytest.mark.parametrize("kind", [None, "abuse", "fraud", "virus", "other", "absent"])
def test_complaint_of_any_type_counts(world: World, kind: str | None) -> None:
    message = complaint("user0@example.com", complaintFeedbackType=kind)
    if kind == "absent":
        del message["complaint"]["complaintFeedbackType"]
    deliver(world, message)
    assert suppressed(world) == {"user0@example.com": "complaint"}


@contextmanager
def breaking(world: World, words: str) -> Iterator[None]:
    """Make every statement with this beginning fail, as if the server had gone."""
    engine = world.context().database.engine

    def refuse(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(words):
            raise OperationalError("any", {}, Exception(2013, "Lost connection to server during query"))

    database_event.listen(engine, "before_cursor_execute", refuse)
    try:
        yield
    finally:
        database_event.remove(engine, "before_cursor_execute", refuse)


@pytest.mark.parametrize("words", ["", "INSERT INTO suppressions", "UPDATE suppressions", "UPDATE users"])
def test_failed_complaint_rolls_back_and_retry_records_it(world: World, log: Log, words: str) -> None:
    world.add_users(1)
    with breaking(world, words), pytest.raises(RunFailedError, match="mail_feedback failed: ") as failed:
        deliver(world, complaint("user0@example.com"))
    assert "user0" not in str(failed.value) + json.dumps(log())
    assert world.execute(select(suppressions)) == []
    assert subscribed_addresses(world) == ["user0@example.com"]
    assert deliver(world, complaint("user0@example.com")) == (1, 0, 0)
    assert subscribed_addresses(world) == []


def test_summary_counts_recipients_and_names_the_task(world: World, log: Log) -> None:
    message = bounce("user0@example.com", "user1@example.com")
    deliver(world, message)
    log()
    message["bounce"]["bouncedRecipients"] += [CUT_OFF, {"emailAddress": "user2@example.com"}]
    deliver(world, message)
    (summary,) = (line for line in log() if line.get("message") == "run succeeded" and line.get("total") == 4)
    assert (summary["task"], summary["succeeded"], summary["skipped"], summary["failed"]) == ("mail_feedback", 1, 2, 1)


@pytest.mark.parametrize("name", [None, "nightshift-dev_mail-2"])
def test_mail_is_sent_with_configuration_set(sqlite_url: str, name: str | None) -> None:
    kit = Kit(sqlite_url, MAIL_CONFIGURATION_SET=name or "")
    kit.enqueue("send_email", {"to": "jane@example.org", "subject": "Hello", "text": "Hello."})
    kit.drain()
    (call,) = kit.ses.sent
    assert call.get("ConfigurationSetName") == name
    # SES's API allows a missing parameter, not null.
    assert ("ConfigurationSetName" in call) == (name is not None)


@pytest.mark.parametrize("name", ["a b", "a/b", "a" * 65, "ä", "a\n", "arn:aws:ses:eu-west-1:1:configuration-set/a"])
def test_invalid_configuration_set_is_refused_at_start(world: World, name: str) -> None:
    with pytest.raises(ConfigurationError, match="MAIL_CONFIGURATION_SET must be up to 64 letters") as refused:
        Environment({**world.environment, "MAIL_CONFIGURATION_SET": name}).read(MailSettings)
    assert name not in str(refused.value)
