"""The monthly report: its month, its page stored by each attempt, and its mail sent once."""

import json
import re
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from sqlalchemy import insert

from chalicelib.application import posts, users
from chalicelib.core.clock import to_ms
from chalicelib.core.text import clean
from chalicelib.handlers.generate_report import generate_report
from chalicelib.queue import outbox
from nightshift.demo.blog import HOSTILE
from nightshift.local.aws import parse_mail
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import DEAD, NOON, Killed, Kit
from nightshift.testkit.memory import MemoryS3
from tests.tasks.monthly_report.samples import Page
from tests.world import World

# The test kit's clock is at March 2026.
FEBRUARY = datetime(2026, 2, 14, 9, 0, tzinfo=UTC)
ADDRESS = "editor@example.org"


@pytest.fixture
def lite(sqlite_url: str) -> Kit:
    """A deployment on SQLite, for tests that do not depend on the database."""
    return Kit(sqlite_url)


def add_posts(kit: Kit | World, *titles: str, at: datetime = FEBRUARY, **values: Any) -> None:
    rows = [
        {
            "id": f"{at:%Y%m%d%H}-{n}",
            "title": title,
            "url": f"https://blog.example.com/{n}",
            "author": "Zoë",
            "points": len(titles) - n,
            "comments": 1,
            "views": 0,
            "created_at": to_ms(at),
        }
        | values
        for n, title in enumerate(titles)
    ]
    kit.context().database.transact(lambda connection: connection.execute(insert(posts), rows))


def add_users(kit: Kit, count: int, *, at: datetime = FEBRUARY) -> None:
    flags = {"is_verified": False, "is_admin": False, "email_digest": False}
    rows = [
        {"id": f"{at:%Y%m%d%H}-{n}", "name": f"R {n}", "email": f"{at:%Y%m%d%H}{n}@example.org", **flags}
        | {"created_at": to_ms(at), "updated_at": to_ms(at)}
        for n in range(count)
    ]
    kit.context().database.transact(lambda connection: connection.execute(insert(users), rows))


def enqueue(kit: Kit, **data: Any) -> str:
    return kit.enqueue("generate_report", {"to": ADDRESS} | data)


def work_once(kit: Kit) -> None:
    kit.work(kit.receive())


def mails(kit: Kit) -> list[EmailMessage]:
    return [parse_mail(call["Content"]["Raw"]["Data"]) for call in kit.ses.sent]


def parts(message: EmailMessage) -> dict[str, str]:
    return {part.get_content_subtype(): part.get_content() for part in message.iter_parts()}


def mail_jobs(kit: Kit) -> list[Any]:
    return [job for job in kit.jobs() if job.type == "send_email"]


def test_month_is_counted_stored_and_mailed(kit: Kit) -> None:
    add_posts(kit, "Best", "Second")
    add_posts(kit, "Of another month", at=NOON)
    add_users(kit, 3)
    add_users(kit, 2, at=FEBRUARY - timedelta(days=31))
    job = enqueue(kit, period="2026-02", name="Ed")
    kit.drain()
    assert kit.job(job).status == "completed"
    key = f"reports/2026-02/{job}.html"
    assert list(kit.s3.objects) == [key]
    page = Page(kit.s3.objects[key].decode())
    for words in (
        "Slow Harbour February 2026 Monthly report",
        "New users 3 ▲ 50% more than in January 2026",
        "New posts 2 ▲ none in January 2026",
        "Active users no data not recorded",
        "Top posts Title Points Comments Best Zoë 2 1 Second Zoë 1 1 Computed on 2 March 2026, 12:00 UTC.",
    ):
        assert words in page.text
    (message,) = mails(kit)
    assert message["To"] == ADDRESS
    assert message["Subject"] == "Slow Harbour: February 2026 in figures"
    assert message["List-Unsubscribe"] is None
    link = f"https://nightshift-local.s3.example/{key}?expires=43200"
    texts = parts(message)
    assert link in Page(texts["html"]).links
    assert f"The full report:\n{link}\n" in texts["plain"].replace("\r\n", "\n")
    for part in (Page(texts["html"]).text, texts["plain"]):
        assert "Hi Ed" in part
        assert part.index("Best") < part.index("Second")
    assert "New users: 3 (50% more than in January 2026)" in texts["plain"]
    assert "Of another month" not in page.text + texts["plain"] + texts["html"]


@pytest.mark.parametrize(
    ("moment", "zone", "month"),
    [
        ("2026-03-01T00:00:00+00:00", "UTC", "2026-02"),
        ("2026-02-28T23:59:59+00:00", "UTC", "2026-01"),
        ("2026-03-01T04:59:59+00:00", "America/New_York", "2026-01"),
        ("2026-03-01T05:00:00+00:00", "America/New_York", "2026-02"),
        ("2026-02-28T15:00:00+00:00", "Asia/Tokyo", "2026-02"),
        ("2026-01-01T00:30:00+00:00", "Europe/Berlin", "2025-12"),
        # In summer time midnight is at 22:00 UTC, a month earlier at 23:00.
        ("2026-03-31T21:59:59+00:00", "Europe/Berlin", "2026-02"),
        ("2026-03-31T22:00:00+00:00", "Europe/Berlin", "2026-03"),
    ],
)
def test_default_period_is_last_month_in_digest_zone(sqlite_url: str, moment: str, zone: str, month: str) -> None:
    kit = Kit(sqlite_url, clock=FrozenClock(datetime.fromisoformat(moment)), DIGEST_ZONE=zone)
    job = enqueue(kit)
    work_once(kit)
    assert list(kit.s3.objects) == [f"reports/{month}/{job}.html"]


@pytest.mark.parametrize(
    ("moment", "zone", "period", "is_over"),
    [
        ("2026-03-01T00:00:00+00:00", "UTC", "2026-02", True),
        ("2026-02-28T23:59:59+00:00", "UTC", "2026-02", False),
        ("2026-03-01T04:59:59+00:00", "America/New_York", "2026-02", False),
        ("2026-03-01T05:00:00+00:00", "America/New_York", "2026-02", True),
        ("2026-03-02T12:00:00+00:00", "UTC", "2026-03", False),
        ("2026-03-02T12:00:00+00:00", "UTC", "2026-04", False),
        ("2026-03-02T12:00:00+00:00", "UTC", "9998-12", False),
        ("2026-03-02T12:00:00+00:00", "UTC", "1971-01", True),
    ],
)
def test_month_that_has_not_ended_is_dead_at_once(
    sqlite_url: str, moment: str, zone: str, period: str, is_over: bool
) -> None:
    kit = Kit(sqlite_url, clock=FrozenClock(datetime.fromisoformat(moment)), DIGEST_ZONE=zone)
    job = enqueue(kit, period=period)
    work_once(kit)
    assert kit.job(job).status == ("completed" if is_over else "dead")
    assert list(kit.s3.objects) == ([f"reports/{period}/{job}.html"] if is_over else [])
    if not is_over:
        reason = f"InvalidRequestError: the month {period} has not ended yet; ask for an earlier one"
        assert kit.job(job).last_error == reason


@pytest.mark.parametrize(
    ("period", "reason"),
    [
        *(
            (text, f"period: A month is written like 2026-02, not {text!r}.")
            for text in (
                "",
                "2026-2",
                "2026-02-01",
                " 2026-02",
                "2026-02\n",
                "../../2026-02",
                "٢٠٢٦-02",
                "last",
                "\x00",
            )
        ),
        ("2026-13", "period: 2026-13 is not a month between 1970-01 and 9998-12."),
        ("2026-00", "period: 2026-00 is not a month between 1970-01 and 9998-12."),
        ("1969-12", "period: 1969-12 is not a month between 1970-01 and 9998-12."),
        ("9999-01", "period: 9999-01 is not a month between 1970-01 and 9998-12."),
        # The twelve months before it would begin before 1970-01.
        ("1970-12", "period: the earliest month that has a year before it is 1971-01"),
        ("2026-02" * 100_000, f"period: A month is written like 2026-02, not '{('2026-02' * 5)[:32]}'."),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_invalid_period_is_dead_at_once(lite: Kit, period: str, reason: str) -> None:
    job = enqueue(lite, period=period)
    work_once(lite)
    assert lite.job(job).status == "dead"
    assert lite.job(job).last_error == f"InvalidRequestError: {reason}"
    assert not [key for key in lite.s3.objects if key.startswith("reports/")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"to": None}, "Expected `str`, got `null` - at `$.to`"),
        ({"period": 202602}, "Expected `str | null`, got `int` - at `$.period`"),
        ({"month": "2026-02"}, "Object contains unknown field `month`"),
    ],
)
def test_invalid_payload_is_dead_at_once(lite: Kit, data: dict[str, Any], reason: str) -> None:
    job = enqueue(lite, **data)
    work_once(lite)
    assert lite.job(job).status == "dead"
    assert lite.job(job).last_error == f"InvalidRequestError: the job's data is not valid: {reason}"


def test_report_to_invalid_address_is_stored_and_its_mail_is_dead(kit: Kit) -> None:
    job = enqueue(kit, to="editor@example.org, eve@example.org")
    kit.drain()
    assert kit.job(job).status == "completed"
    (mail,) = mail_jobs(kit)
    assert (mail.status, mail.last_error) == ("dead", "InvalidRequestError: to is not one plain e-mail address")
    assert kit.ses.sent == []


@pytest.mark.parametrize(
    "title", [*HOSTILE, "</title></td><script>alert(1)</script>", "<!--", "\x00name\x00\r\nBcc: e@x.org"]
)
def test_no_title_becomes_markup_in_the_page_or_the_mail(kit: Kit, title: str) -> None:
    add_posts(kit, "harmless", at=FEBRUARY - timedelta(days=31))
    add_posts(kit, title, author=title[:255], url=f"https://x.org/{title}")
    harmless, hostile = enqueue(kit, period="2026-01"), enqueue(kit, period="2026-02", name="Ed")
    kit.drain()
    pages = [kit.s3.objects[f"reports/{key}.html"] for key in (f"2026-01/{harmless}", f"2026-02/{hostile}")]
    messages = sorted(mails(kit), key=lambda message: str(message["Subject"]), reverse=True)
    bodies = [parts(message) for message in messages]
    assert messages[0].keys() == messages[1].keys()
    for expected, source in (
        tuple(page.decode() for page in pages),
        tuple(body["html"] for body in bodies),
    ):
        assert Page(source).tags == Page(expected).tags
        assert [name for name, _ in Page(source).attributes] == [name for name, _ in Page(expected).attributes]
        assert " ".join(clean(title).split()) in Page(source).text
        assert clean(f"https://x.org/{title}") in Page(source).links
    assert clean(title) in bodies[1]["plain"].splitlines()
    assert bodies[1]["plain"].count("Hi Ed,") == 1


def one_report_was_mailed(kit: Kit, job: str) -> None:
    assert kit.job(job).status == "completed"
    assert [mail.status for mail in mail_jobs(kit)] == ["completed"]
    assert list(kit.s3.objects) == [f"reports/2026-02/{job}.html"]
    assert len(kit.ses.sent) == 1


@pytest.mark.parametrize("moment", ["begin", "end"])
def test_report_killed_before_or_after_is_mailed_once(kit: Kit, moment: Any) -> None:
    job = enqueue(kit)
    with kit.killed_at(moment):
        work_once(kit)
    assert kit.job(job).status == "claimed"
    assert len(mail_jobs(kit)) == (moment == "end")
    kit.settle()
    one_report_was_mailed(kit, job)


def dies_in(kit: Kit, monkeypatch: pytest.MonkeyPatch, target: object, name: str, *, after: bool) -> None:
    """Kill the worker's process just before, or just after, the first call of a function."""
    original: Callable[..., Any] = getattr(target, name)

    def call(*arguments: Any, **named: Any) -> Any:
        if after:
            original(*arguments, **named)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(target, name, call)
        work_once(kit)


@pytest.mark.parametrize("after", [False, True])
def test_report_killed_while_storing_is_mailed_once(kit: Kit, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    job = enqueue(kit)
    dies_in(kit, monkeypatch, kit.s3, "put_object", after=after)
    assert (len(kit.s3.objects), mail_jobs(kit)) == (after, [])
    kit.settle()
    one_report_was_mailed(kit, job)


@pytest.mark.parametrize("after", [False, True])
def test_report_killed_before_commit_is_mailed_once(kit: Kit, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    job = enqueue(kit)
    dies_in(kit, monkeypatch, outbox, "enqueue_many", after=after)
    assert (len(kit.s3.objects), mail_jobs(kit)) == (1, [])
    kit.settle()
    one_report_was_mailed(kit, job)


@pytest.mark.parametrize("after", [False, True])
def test_report_killed_after_commit_is_mailed_once(kit: Kit, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    job = enqueue(kit)
    dies_in(kit, monkeypatch, kit.sqs, "send_message_batch", after=after)
    assert [mail.status for mail in mail_jobs(kit)] == ["pending"]
    kit.settle()
    one_report_was_mailed(kit, job)


def test_redelivered_report_is_mailed_once(kit: Kit) -> None:
    job = enqueue(kit)
    for _ in range(3):
        kit.redeliver(job)
    kit.drain()
    one_report_was_mailed(kit, job)


def test_retried_report_keeps_its_first_mail(kit: Kit) -> None:
    add_posts(kit, "First title")
    job = enqueue(kit)
    with kit.killed_at("end"):
        work_once(kit)
    add_posts(kit, "Late title", points=99, id="late")
    kit.settle()
    one_report_was_mailed(kit, job)
    assert "Late title" in kit.s3.objects[f"reports/2026-02/{job}.html"].decode()
    assert "Late title" not in parts(mails(kit)[0])["plain"]


def test_two_reports_of_a_month_are_two_pages_and_two_mails(kit: Kit) -> None:
    enqueue(kit), enqueue(kit)
    kit.drain()
    assert (len(kit.s3.objects), len(kit.ses.sent)) == (2, 2)


def test_dispatch_sends_report_mail_after_sqs_outage(kit: Kit) -> None:
    job = enqueue(kit)
    kit.sqs.refuse.add("SendMessageBatch")
    work_once(kit)
    assert (kit.job(job).status, kit.ses.sent) == ("completed", [])
    kit.sqs.refuse.clear()
    kit.settle()
    one_report_was_mailed(kit, job)


class RefusingS3(MemoryS3):
    """S3 that raises these errors, one a call, before it stores anything."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self._errors = list(errors)

    def put_object(self, **call: Any) -> dict[str, Any]:
        if self._errors:
            raise self._errors.pop(0)
        return super().put_object(**call)


DENIED = ClientError({"Error": {"Code": "AccessDenied", "Message": "Access Denied"}}, "PutObject")
UNREACHABLE = EndpointConnectionError(endpoint_url="https://s3.example")


@pytest.mark.parametrize("error", [DENIED, UNREACHABLE], ids=["denied", "unreachable"])
def test_unstored_report_is_retried_and_not_mailed(kit: Kit, error: Exception) -> None:
    kit.s3 = RefusingS3(error, error)
    job = enqueue(kit)
    for wait in generate_report.backoff_seconds[:2]:
        kit.drain()
        assert (kit.job(job).status, mail_jobs(kit)) == ("failed", [])
        assert kit.job(job).last_error.startswith(f"TransientError: reports/2026-02/{job}.html cannot be stored: ")
        assert 0.8 * wait <= (kit.job(job).due_at - kit.clock.now_ms()) / 1000 <= 1.2 * wait
        kit.clock.advance(1.3 * wait)
    kit.drain()
    one_report_was_mailed(kit, job)
    assert kit.job(job).attempts == 3


def test_report_is_dead_if_s3_never_stores_it(kit: Kit) -> None:
    kit.s3 = RefusingS3(*[DENIED] * 100)
    job = enqueue(kit)
    for _ in range(generate_report.max_attempts):
        assert kit.job(job).status != "dead"
        kit.dispatch()
        kit.drain()
        kit.clock.advance(3600)
    assert kit.job(job).status == "dead"
    assert "Access Denied" in kit.job(job).last_error
    assert (len(kit.sqs.messages(DEAD)), mail_jobs(kit)) == (1, [])


def test_link_in_the_mail_opens_the_page_without_credentials(world: World) -> None:
    add_posts(world, "Best", at=datetime(2016, 7, 14, tzinfo=UTC))
    body = json.dumps({"type": "generate_report", "data": {"to": ADDRESS}})
    world.sqs.send_message(QueueUrl=world.environment["WORK_QUEUE_URL"], MessageBody=body)
    assert world.drain() == 0
    (mail,) = world.aws.sent()
    texts = parts(parse_mail(mail.content))
    (link,) = re.findall(r"^http://127\.0\.0\.1:.*$", texts["plain"], re.MULTILINE)
    assert link.strip() in Page(texts["html"]).links
    with urllib.request.urlopen(link.strip()) as answer:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        page = Page(answer.read().decode())
    assert "Slow Harbour July 2016 Monthly report" in page.text
    assert "Best" in page.text


def test_page_is_stored_under_month_and_job(world: World) -> None:
    world.configure(digest_zone=ZoneInfo("Pacific/Auckland"))
    body = json.dumps({"type": "generate_report", "id": "r-1", "data": {"to": ADDRESS, "period": "2016-02"}})
    world.sqs.send_message(QueueUrl=world.environment["WORK_QUEUE_URL"], MessageBody=body)
    assert world.drain() == 0
    listed = world.aws.client("s3").list_objects_v2(Bucket=world.environment["BUCKET"])["Contents"]
    assert [entry["Key"] for entry in listed] == ["reports/2016-02/r-1.html"]
