"""A digest in bulk calls: the status of every mail after every failure, and no mail sent twice."""

import html
import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from sqlalchemy import select, update

from chalicelib.application import users
from chalicelib.core import context
from chalicelib.mail.ledger import SENDING_LIMIT_MS
from chalicelib.queue.worker import BatchFailedError
from chalicelib.schema import deliveries
from nightshift.local.aws import parse_mail
from nightshift.testkit.kit import Killed
from tests.handlers.bulk_faults import (
    Entries,
    Forward,
    Script,
    answer_each,
    fail,
    lose,
    lose_answer,
    scripted,
)
from tests.sweep import some
from tests.world import World

Log = Callable[[], list[dict[str, Any]]]

HOSTILE = "{{name}} {{{x}}} \\{{y}} {{#if z}} {{! }} }} {{ <b>&amp;'\"</b> \\"
FORBIDDEN = fail(403, "AccessDeniedException", "not authorized to perform ses:SendBulkEmail")
ADDRESSES = [f"user{number}@example.com" for number in range(5)]


@pytest.fixture
def readers(world: World) -> list[str]:
    """Five readers with a delivery each, whose mails wait on the queue."""
    ids = world.add_users(5)
    world.add_posts("Hello")
    world.fire()
    return ids


def statuses(world: World) -> dict[str, str]:
    """Return the status of each delivery by the reader's address."""
    query = select(users.c.email, deliveries.c.status).join(deliveries, deliveries.c.user_id == users.c.id)
    return {row.email: row.status for row in world.execute(query)}


def counts(log: Log) -> tuple[int, int, int, int]:
    """Return total, succeeded, failed and skipped of the only job that ended."""
    (line,) = [line for line in log() if line.get("type") == "send_digest" and "outcome" in line]
    return line["total"], line["succeeded"], line["failed"], line["skipped"]


def test_bulk_call_has_fifty_mails_with_ses_ids(world: World) -> None:
    world.add_users(101)
    world.add_posts("Hello")
    world.fire()
    with scripted(world) as sizes:
        world.drain()
    # A hundred readers a message; the last one goes by the single call.
    assert sizes == [50, 50]
    rows = world.execute(select(deliveries))
    assert {row.status for row in rows} == {"sent"}
    assert len({row.provider_id for row in rows}) == 101
    assert Counter(world.recipients()) == Counter(f"user{number}@example.com" for number in range(101))


def test_bulk_and_single_call_send_the_same_mail(world: World) -> None:
    world.add_users(2)
    world.execute(update(users).where(users.c.email == ADDRESSES[0]).values(name=HOSTILE))
    world.execute(update(users).where(users.c.email == ADDRESSES[1]).values(name="Zoë 🐙 שלום"))
    world.add_posts(HOSTILE, "Zoë 🐙", author=HOSTILE)
    world.configure(site_name='Zoë\'s, "Harbour" {{name}}', unsubscribe_url="https://x.example/?a=%7B%7Bname%7D%7D&b=1")
    world.fire()
    messages = world.receive()
    with scripted(world) as sizes:
        world.work(messages)
    assert sizes == [2]
    bulk = world.aws.take_sent()
    world.execute(update(deliveries).values(status="pending"))
    world.sqs.send_message(QueueUrl=world.environment["WORK_QUEUE_URL"], MessageBody=messages[0]["Body"])
    with scripted(world, FORBIDDEN):
        world.drain()
    single = world.aws.take_sent()
    assert [mail.recipient for mail in bulk] == [mail.recipient for mail in single]
    for one, other in zip(bulk, single, strict=True):
        assert read(one.content) == read(other.content)
    hostile, _ = sorted(map(read, (mail.content for mail in bulk)), key=lambda mail: "user1" in mail["To"])
    assert f"Hi {HOSTILE},\n" in hostile["text/plain"]
    assert f'<span dir="auto">{html.escape(HOSTILE)}</span>' in hostile["text/html"]


def read(content: bytes) -> dict[str, str]:
    """Return what a reader gets: the headers but the date, and the parts by their type."""
    mail = parse_mail(content)
    assert mail.get_content_type() == "multipart/alternative"
    headers = {
        name: mail[name] for name in ("From", "To", "Cc", "Bcc", "Subject", "List-Unsubscribe", "List-Unsubscribe-Post")
    }
    parts = {part.get_content_type(): part.get_content().replace("\r\n", "\n").strip() for part in mail.iter_parts()}
    assert list(parts) == ["text/plain", "text/html"]
    return {name: str(value) for name, value in headers.items()} | parts


def test_bulk_call_has_configuration_set(world: World, readers: list[str]) -> None:
    named: list[str] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        named.append(params["ConfigurationSetName"])

    events: Any = context.client("sesv2").meta.events
    events.register("before-parameter-build.sesv2.SendBulkEmail", note)
    try:
        world.configure(mail_configuration_set="nightshift-dev-mail")
        world.drain()
    finally:
        events.unregister("before-parameter-build.sesv2.SendBulkEmail", note)
    assert named == ["nightshift-dev-mail"]


@pytest.mark.parametrize(("script", "accepted"), [(lose, 0), (lose_answer, 5)])
def test_lost_answer_leaves_mails_unknown_and_never_resent(
    world: World, readers: list[str], log: Log, script: Script, accepted: int
) -> None:
    messages = world.receive()
    with scripted(world, script) as sizes:
        world.work(messages)
    assert counts(log) == (5, 0, 5, 0)
    assert set(statuses(world).values()) == {"unknown"}
    world.sqs.send_message(QueueUrl=world.environment["WORK_QUEUE_URL"], MessageBody=messages[0]["Body"])
    world.drain()
    assert (sizes, len(world.recipients())) == ([5], accepted)


def refuse_connection(_entries: Entries, _forward: Forward) -> Entries:
    raise EndpointConnectionError(endpoint_url="https://email.example")


@pytest.mark.parametrize(
    "script",
    [
        refuse_connection,
        fail(400, "SendingPausedException", "Sending is paused"),
        fail(400, "MessageRejected", "Sending paused for this account."),
        fail(429, "TooManyRequestsException", "Daily message quota exceeded."),
    ],
)
def test_account_error_leaves_all_pending_and_message_returns(world: World, readers: list[str], script: Script) -> None:
    messages = world.receive()
    with scripted(world, script) as sizes, pytest.raises(BatchFailedError):
        world.work(messages)
    assert (sizes, world.recipients()) == ([5], [])
    assert set(statuses(world).values()) == {"pending"}
    assert world.messages_left() == 1


@pytest.mark.parametrize("status", ["MESSAGE_REJECTED", "INVALID_PARAMETER", "FAILED"])
def test_refused_mail_does_not_stop_others(world: World, readers: list[str], log: Log, status: str) -> None:
    with scripted(world, answer_each({ADDRESSES[1]: status}, "Local address contains control")):
        world.work(world.receive())
    assert counts(log) == (5, 4, 1, 0)
    assert statuses(world) == dict.fromkeys(ADDRESSES, "sent") | {ADDRESSES[1]: "refused"}
    assert sorted(world.recipients()) == [address for address in ADDRESSES if address != ADDRESSES[1]]
    (row,) = world.execute(select(deliveries).where(deliveries.c.status == "refused"))
    assert row.error == f"{status}: Local address contains control"


@pytest.mark.parametrize("status", ["ACCOUNT_THROTTLED", "TRANSIENT_FAILURE"])
def test_throttled_mails_are_sent_later_once(world: World, readers: list[str], log: Log, status: str) -> None:
    put_off = dict.fromkeys(ADDRESSES[:3], status)
    with scripted(world, answer_each(put_off), answer_each(put_off)) as sizes:
        world.work(world.receive())
    assert sizes == [5, 3]
    assert counts(log) == (5, 5, 0, 0)
    assert sorted(world.recipients()) == ADDRESSES
    pauses = [seconds for seconds in world.clock.slept if seconds > 0.1]
    assert [low <= pause <= 2 * low for low, pause in zip((0.25, 0.5), pauses, strict=True)] == [True, True]


def test_throttled_call_halves_the_batch(world: World, readers: list[str], log: Log) -> None:
    slower = fail(429, "TooManyRequestsException", "Maximum sending rate exceeded.")
    with scripted(world, slower) as sizes:
        world.work(world.receive())
    assert sizes == [5, 2, 2]
    assert counts(log) == (5, 5, 0, 0)
    assert sorted(world.recipients()) == ADDRESSES


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("ACCOUNT_DAILY_QUOTA_EXCEEDED", "oh"),
        ("ACCOUNT_SENDING_PAUSED", "oh"),
        ("ACCOUNT_SUSPENDED", "oh"),
        ("CONFIGURATION_SET_NOT_FOUND", "oh"),
        ("CONFIGURATION_SET_SENDING_PAUSED", "oh"),
        ("INVALID_SENDING_POOL_NAME", "oh"),
        ("MAIL_FROM_DOMAIN_NOT_VERIFIED", "oh"),
        ("TEMPLATE_NOT_FOUND", "oh"),
        ("MESSAGE_REJECTED", "Email address is not verified. The following identities failed the check"),
    ],
)
def test_mail_stopped_by_account_is_sent_on_redelivery(
    world: World, readers: list[str], status: str, error: str
) -> None:
    messages = world.receive()
    with scripted(world, answer_each({ADDRESSES[4]: status}, error)), pytest.raises(BatchFailedError):
        world.work(messages)
    assert statuses(world) == dict.fromkeys(ADDRESSES, "sent") | {ADDRESSES[4]: "pending"}
    world.clock.advance(600)
    world.work(messages)
    assert set(statuses(world).values()) == {"sent"}
    assert sorted(world.recipients()) == ADDRESSES


@pytest.mark.parametrize("status", ["NEW_STATUS", "SUCCESS"])
def test_unexpected_status_leaves_mail_unknown(world: World, readers: list[str], status: str) -> None:
    # A success without an id is not recorded as sent.
    with scripted(world, answer_each({ADDRESSES[0]: status})):
        world.drain()
    assert statuses(world) == dict.fromkeys(ADDRESSES, "sent") | {ADDRESSES[0]: "unknown"}


def test_missing_results_leave_deliveries_unknown(world: World, readers: list[str], log: Log) -> None:
    with scripted(world, lambda entries, forward: forward(entries)[1:]):
        world.work(world.receive())
    assert counts(log) == (5, 0, 5, 0)
    assert set(statuses(world).values()) == {"unknown"}
    assert sorted(world.recipients()) == ADDRESSES


@pytest.mark.parametrize(
    "script",
    [
        FORBIDDEN,
        fail(404, "404", "<html>"),
        fail(405, "405", "<html>"),
        fail(501, "NotImplemented", "no such operation"),
        fail(400, "BadRequestException", "Template contains unsupported operations."),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_declined_bulk_falls_back_to_single_calls_with_one_warning(world: World, log: Log, script: Script) -> None:
    world.add_users(5)
    world.add_users(50, prefix="other", name="")
    world.add_posts("Hello")
    world.fire()
    with scripted(world, script) as sizes:
        world.work(world.receive())
    assert sizes[0] == 50
    assert len(sizes) == 1
    assert set(statuses(world).values()) == {"sent"}
    assert len(world.recipients()) == len(set(world.recipients())) == 55
    lines = log()
    assert len([line for line in lines if line.get("message") == "mails go one by one"]) == 1
    assert sum(line["total"] for line in lines if line.get("type") == "send_digest" and "outcome" in line) == 55


def test_bulk_declined_halfway_counts_each_mail_once(world: World, readers: list[str], log: Log) -> None:
    with scripted(world, answer_each(dict.fromkeys(ADDRESSES[:3], "ACCOUNT_THROTTLED")), FORBIDDEN) as sizes:
        world.work(world.receive())
    assert sizes == [5, 3]
    assert counts(log) == (5, 5, 0, 0)
    assert sorted(world.recipients()) == ADDRESSES


def test_digest_too_large_for_bulk_goes_by_single_call(world: World) -> None:
    world.add_users(2)
    world.add_posts(*["{" * 250] * 200)
    world.configure(digest_max_posts=200)
    world.fire()
    with scripted(world) as sizes:
        world.drain()
    assert sizes == []
    assert sorted(world.recipients()) == ADDRESSES[:2]


def test_batch_is_at_most_one_seconds_mails(world: World, readers: list[str]) -> None:
    world.configure(mail_rate=4.0, mail_workers=2)
    with scripted(world) as sizes:
        world.drain()
    assert sizes == [2, 2]
    assert world.clock.slept == [1.0, 1.0]
    assert sorted(world.recipients()) == ADDRESSES


def test_deadline_queues_unsent_mails_as_new_job(world: World, readers: list[str], log: Log) -> None:
    world.configure(mail_rate=2.0, mail_workers=1)
    with scripted(world) as sizes:
        world.work(world.receive(), seconds=46.5)
        assert counts(log) == (4, 4, 0, 0)
        assert Counter(statuses(world).values()) == {"sent": 4, "pending": 1}
        (rest,) = world.receive()
        assert json.loads(rest["Body"])["data"]["first"] == readers[4]
        world.work([rest])
    assert sizes == [2, 2]
    assert sorted(world.recipients()) == ADDRESSES


def test_delivery_claimed_by_another_worker_is_skipped(world: World, readers: list[str], log: Log) -> None:
    def steal(entries: Entries, forward: Forward) -> Entries:
        world.execute(update(deliveries).where(deliveries.c.user_id == readers[4]).values(status="sent"))
        return forward(entries)

    world.configure(mail_rate=4.0, mail_workers=1)
    with scripted(world, steal) as sizes:
        world.work(world.receive())
    assert sizes == [4]
    assert counts(log) == (5, 4, 0, 1)
    assert len(world.recipients()) == 4


@pytest.mark.parametrize(("script", "mails"), [(lose, 0), (lose_answer, 5)])
def test_crash_during_call_leaves_mails_unknown(world: World, readers: list[str], script: Script, mails: int) -> None:
    def die(entries: Entries, forward: Forward) -> Entries:
        try:
            return [*script(entries, forward)]  # type: ignore[misc]
        except Exception as error:
            raise Killed from error

    messages = world.receive()
    with scripted(world, die), pytest.raises(Killed):
        world.work(messages)
    assert set(statuses(world).values()) == {"sending"}
    world.clock.advance(SENDING_LIMIT_MS / 1000 + 1)
    world.work(messages)
    assert set(statuses(world).values()) == {"unknown"}
    assert len(world.recipients()) == mails


def weather(chance: random.Random) -> Script:
    """Return a random script of a call."""

    def each(entries: Entries, forward: Forward) -> Entries:
        words = ["ACCOUNT_THROTTLED", "TRANSIENT_FAILURE", "FAILED", "ACCOUNT_SENDING_PAUSED", "WHAT"]
        some = {address: chance.choice(words) for address in ADDRESSES if chance.random() < 0.4}
        played = answer_each(some)(entries, forward)
        assert isinstance(played, list)
        return played

    calm = answer_each({})
    throttled = fail(429, "TooManyRequestsException", "Maximum sending rate exceeded.")
    broken = fail(500, "InternalFailure", "oh")
    return chance.choice([each, each, each, calm, throttled, broken, refuse_connection, lose_answer, lose, FORBIDDEN])


@pytest.mark.parametrize("seed", some(4, of=8))
def test_random_faults_never_send_twice(world: World, readers: list[str], seed: int) -> None:
    chance = random.Random(seed)
    (message,) = world.receive()
    with scripted(world, *(weather(chance) for _ in range(6))):
        for _ in range(12):
            # A copy of the message, as from an operator's second fire.
            world.sqs.send_message(QueueUrl=world.environment["WORK_QUEUE_URL"], MessageBody=message["Body"])
            world.drain()
            world.clock.advance(SENDING_LIMIT_MS / 1000 + 1)
    mails, found = Counter(world.recipients()), statuses(world)
    assert max(mails.values(), default=0) <= 1
    assert {address for address in mails if found[address] != "unknown"} == {
        address for address, status in found.items() if status == "sent"
    }
    assert set(found.values()) <= {"sent", "unknown", "refused"}
