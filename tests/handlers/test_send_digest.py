"""Sending a digest: who gets it, who is refused or left out, and what is unknown."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from sqlalchemy import delete, update

from chalicelib.application import users
from chalicelib.core import context as context_module
from chalicelib.mail import suppressions, unsubscribe
from chalicelib.mail.ledger import SENDING_LIMIT_MS
from chalicelib.mail.suppressions import Incident, Reason
from chalicelib.queue.worker import BatchFailedError
from chalicelib.schema import deliveries
from nightshift.local.aws import parse_mail
from tests.world import MORNING, YESTERDAY, World


@pytest.fixture
def readers(world: World) -> list[str]:
    """Three readers with a delivery each, whose mails wait on the queue."""
    ids = world.add_users(3)
    world.add_posts("Hello")
    world.fire()
    return ids


def test_each_mail_has_its_users_unsubscribe_link(world: World, readers: list[str]) -> None:
    world.drain()
    links = [parse_mail(mail.content)["List-Unsubscribe"] for mail in world.aws.sent()]
    tokens = [str(link).rstrip(">").partition("token=")[2] for link in links]
    secrets = unsubscribe.unsubscribe_secrets(world.context())
    assert sorted(unsubscribe.verify(token, secrets=secrets) or () for token in tokens) == [
        (reader, "daily_digest") for reader in readers
    ]


def test_redelivered_message_sends_nothing_twice(world: World, readers: list[str]) -> None:
    messages = world.receive()
    assert world.work(messages) == {"messages": 1, "succeeded": 1}
    assert world.work(messages) == {"messages": 1, "skipped": 1}
    assert len(world.recipients()) == 3


def test_second_message_for_same_users_sends_nothing_twice(world: World, readers: list[str]) -> None:
    (message,) = world.receive()
    world.work([message])
    world.sqs.send_message(QueueUrl=world.environment["WORK_QUEUE_URL"], MessageBody=message["Body"])
    assert world.work(world.receive()) == {"messages": 1, "succeeded": 1}
    assert len(world.recipients()) == 3


@pytest.mark.parametrize(
    "address", ["a@example.com, b@example.com", "nobody", "x@y@example.com", "evil@x\r\nBcc: b@c.de"]
)
def test_invalid_address_is_refused_without_stopping_others(world: World, readers: list[str], address: str) -> None:
    world.execute(update(users).where(users.c.id == readers[1]).values(email=address))
    world.drain()
    assert [world.ledger()[reader] for reader in readers] == ["sent", "refused", "sent"]
    assert len(world.recipients()) == 2
    assert world.messages_left() == 0


def test_user_who_opts_out_or_leaves_gets_no_mail(world: World, readers: list[str]) -> None:
    world.execute(update(users).where(users.c.id == readers[0]).values(email_digest=False))
    world.execute(delete(users).where(users.c.id == readers[1]))
    world.drain()
    assert [world.ledger()[reader] for reader in readers] == ["withdrawn", "withdrawn", "sent"]


def suppress(world: World, address: str) -> None:
    now_ms = world.clock.now_ms()
    incident = Incident(
        address=address, spellings=frozenset(), reason=Reason.PERMANENT, message_id="1", at_ms=now_ms, words=""
    )
    world.context().database.transact(lambda connection: suppressions.record(connection, incident, now_ms=now_ms))


def test_suppressed_user_gets_no_mail_and_others_do(world: World, readers: list[str]) -> None:
    world.execute(update(users).where(users.c.id == readers[1]).values(email="Jane@Bücher.example"))
    suppress(world, "jane@xn--bcher-kva.example")
    (message,) = world.receive()
    assert world.work([message]) == {"messages": 1, "succeeded": 1}
    assert [world.ledger()[reader] for reader in readers] == ["sent", "withdrawn", "sent"]
    assert "Jane@xn--bcher-kva.example" not in world.recipients()
    assert len(world.recipients()) == 2


def test_lifted_user_gets_the_next_digest(world: World, readers: list[str]) -> None:
    suppress(world, "user1@example.com")
    world.drain()
    lift = suppressions.lift
    world.context().database.transact(lambda connection: lift(connection, "user1@example.com", now_ms=1))
    world.fire()
    world.drain()
    assert len(world.recipients()) == 2
    world.add_posts("Hello again", at=MORNING)
    world.fire(MORNING + timedelta(days=1))
    world.drain()
    assert sorted(world.recipients()[2:]) == [f"user{number}@example.com" for number in range(3)]


def test_sent_digest_stays_sent_after_suppression(world: World, readers: list[str]) -> None:
    messages = world.receive()
    world.work(messages)
    suppress(world, "user1@example.com")
    assert world.work(messages) == {"messages": 1, "skipped": 1}
    world.sqs.send_message(QueueUrl=world.environment["WORK_QUEUE_URL"], MessageBody=messages[0]["Body"])
    world.drain()
    assert set(world.ledger().values()) == {"sent"}


def test_abandoned_mail_becomes_unknown_and_is_never_resent(world: World, readers: list[str]) -> None:
    world.execute(
        update(deliveries)
        .where(deliveries.c.user_id == readers[1])
        .values(status="sending", claimed_at=world.clock.now_ms())
    )
    world.clock.advance(SENDING_LIMIT_MS / 1000 + 1)
    world.drain()
    assert [world.ledger()[reader] for reader in readers] == ["sent", "unknown", "sent"]
    assert len(world.recipients()) == 2


def test_mail_in_progress_elsewhere_is_left_alone(world: World, readers: list[str]) -> None:
    world.execute(
        update(deliveries)
        .where(deliveries.c.user_id == readers[1])
        .values(status="sending", claimed_at=world.clock.now_ms())
    )
    assert world.drain() == 1
    assert [world.ledger()[reader] for reader in readers] == ["sent", "sending", "sent"]
    # If the other worker has died, the message comes back when that is certain.
    assert world.messages_left() == 1


def test_account_error_keeps_deliveries_pending_and_message_queued(world: World, readers: list[str]) -> None:
    world.configure(mail_from="unverified@example.org")
    messages = world.receive()
    with pytest.raises(BatchFailedError, match="1 of 1 messages stay on the queue"):
        world.work(messages)
    assert set(world.ledger().values()) == {"pending"}
    assert world.messages_left() == 1


def test_deadline_queues_the_rest_as_new_message(world: World, readers: list[str]) -> None:
    # At one mail a second, the third would begin less than its longest duration before the deadline.
    world.configure(mail_rate=1, mail_workers=1)
    assert world.work(world.receive(), seconds=46) == {"messages": 1, "succeeded": 1}
    assert len(world.recipients()) == 2
    world.drain()
    assert len(world.recipients()) == 3


def test_worker_without_time_for_one_mail_fails_the_message(world: World, readers: list[str]) -> None:
    with pytest.raises(BatchFailedError):
        world.work(world.receive(), seconds=30)
    assert (world.recipients(), world.messages_left()) == ([], 1)


def test_missing_digest_is_dead_at_once(world: World) -> None:
    body = f'{{"type":"send_digest","data":{{"day":"{YESTERDAY}","first":"","last":"z"}}}}'
    world.sqs.send_message(QueueUrl=world.environment["WORK_QUEUE_URL"], MessageBody=body)
    assert world.drain() == 0
    (letter,) = world.dead_letters()
    job_id = letter["MessageAttributes"]["job_id"]["StringValue"]
    # With its job's id, so that a repeated message is for the same job.
    assert json.loads(letter["Body"]) == {**json.loads(body), "id": job_id}
    assert letter["MessageAttributes"]["reason"]["StringValue"] == f"no digest of {YESTERDAY} has been composed"


@contextmanager
def throttled(times: int) -> Iterator[None]:
    """Make SES throttle this many times."""
    left = iter(range(times))

    def refuse(request: Any, **_: Any) -> AWSResponse | None:
        if next(left, None) is None:
            return None
        headers: Any = {"x-amzn-errortype": "TooManyRequestsException", "content-type": "application/json"}
        raw = io.BytesIO(b'{"message": "Maximum sending rate exceeded."}')
        raw.stream = lambda **_: iter([raw.getvalue()])  # type: ignore[attr-defined]
        return AWSResponse(request.url, 429, headers, raw)

    events: Any = context_module.client("sesv2").meta.events
    for operation in ("SendEmail", "SendBulkEmail"):
        events.register(f"before-send.sesv2.{operation}", refuse)
    try:
        yield
    finally:
        for operation in ("SendEmail", "SendBulkEmail"):
            events.unregister(f"before-send.sesv2.{operation}", refuse)


@pytest.mark.parametrize("rate", [1000, 5], ids=["in bulk", "one by one"])
def test_throttled_digest_mails_are_sent_later_once(world: World, readers: list[str], rate: float) -> None:
    world.configure(mail_rate=rate, mail_workers=5)
    with throttled(3):
        assert world.work(world.receive()) == {"messages": 1, "succeeded": 1}
    assert set(world.ledger().values()) == {"sent"}
    assert len(world.recipients()) == len(set(world.recipients())) == 3
    # The shortest pauses with jitter.
    assert sum(world.clock.slept) >= 0.25 + 0.5 + 1.0


def test_pauses_grow_while_throttled(world: World, readers: list[str]) -> None:
    with throttled(3):
        world.work(world.receive())
    pauses = [seconds for seconds in world.clock.slept if seconds > 0.1]
    assert [low <= pause <= 2 * low for low, pause in zip((0.25, 0.5, 1.0), pauses, strict=True)] == [True] * 3


@pytest.mark.parametrize("rate", [1000, 5], ids=["in bulk", "one by one"])
def test_throttling_until_deadline_keeps_rest_pending_and_message_queued(
    world: World, readers: list[str], rate: float
) -> None:
    world.configure(mail_rate=rate, mail_workers=5)
    with throttled(1000), pytest.raises(BatchFailedError):
        world.work(world.receive(), seconds=120)
    assert set(world.ledger().values()) == {"pending"}
    assert world.messages_left() == 1
    # It ended before Lambda's limit, with the reserve for recording left.
    assert sum(world.clock.slept) < 120 - 45


def test_unreadable_secret_keeps_deliveries_pending(world: World, readers: list[str]) -> None:
    missing = "arn:aws:secretsmanager:us-east-1:123456789012:secret:gone-AbCdEf"
    world.configure(unsubscribe_secrets=missing)
    world.work(world.receive())
    assert set(world.ledger().values()) == {"pending"}
    (letter,) = world.dead_letters()
    assert letter["MessageAttributes"]["reason"]["StringValue"].startswith(f"the secret {missing} cannot be read")
