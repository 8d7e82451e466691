"""The monthly report, from a fire to what lies in the bucket and in the administrators' mailboxes."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, func, insert, select, update

from chalicelib.application import posts, sessions, users
from chalicelib.core.clock import to_ms
from chalicelib.core.errors import RunFailedError, TransientError
from chalicelib.core.store import Store
from chalicelib.runs import claims, execution
from chalicelib.runs.fire import Trigger
from chalicelib.schema import activity, activity_days, jobs, month_figures
from chalicelib.tasks.monthly_report.month import Month
from nightshift.local.aws import html_part, parse_mail
from nightshift.local.invocation import scheduled_event
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import Killed
from tests.world import World

FIRST = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
MID_FEBRUARY = to_ms(datetime(2026, 2, 10, tzinfo=UTC))


@pytest.fixture
def world(world: World) -> World:
    """The deployment on the morning of 1 March 2026, with two administrators."""
    world.clock = FrozenClock(FIRST)
    world.add_users(2, prefix="admin", is_admin=True)
    return world


def fire(world: World, moment: datetime = FIRST, *, request_id: str | None = None) -> dict[str, Any]:
    context = world.context(request_id=request_id)
    return execution.execute("monthly_report", event=scheduled_event(moment), context=context)


def ask(world: World, *, request_id: str | None = None, **payload: Any) -> dict[str, Any]:
    return execution.execute("monthly_report", event=payload, context=world.context(request_id=request_id))


def stored(world: World) -> list[str]:
    listed = world.aws.client("s3").list_objects_v2(Bucket=world.environment["BUCKET"])
    return [item["Key"] for item in listed.get("Contents", [])]


def read(world: World, extension: str, *, month: str = "2026-02") -> tuple[str, str]:
    key = f"reports/{month}/report.{extension}"
    answer = world.aws.client("s3").get_object(Bucket=world.environment["BUCKET"], Key=key)
    return answer["ContentType"], answer["Body"].read().decode()


def figures(world: World, *, month: str = "2026-02") -> list[dict[str, Any]]:
    months: list[dict[str, Any]] = json.loads(read(world, "json", month=month)[1])["months"]
    return months


def add_activity(world: World, month: str, *user_ids: str) -> None:
    days = Month.parse(month).days()
    world.execute(insert(activity_days), [{"day": day, "users": len(user_ids), "recorded_at": 0} for day in days])
    world.execute(insert(activity), [{"day": day, "user_id": user_id} for day in days for user_id in user_ids])


def amount(world: World, table: Any) -> int:
    return int(world.execute(select(func.count()).select_from(table))[0][0])


def test_the_month_that_has_ended_is_stored_in_three_formats_with_their_content_types(world: World) -> None:
    summary = fire(world)
    assert stored(world) == [f"reports/2026-02/report.{extension}" for extension in ("csv", "html", "json")]
    assert [read(world, extension)[0] for extension in ("html", "csv", "json")] == [
        "text/html; charset=utf-8",
        "text/csv; charset=utf-8",
        "application/json",
    ]
    assert (summary["outcome"], summary["total"], summary["succeeded"]) == ("succeeded", 2, 2)


def test_it_counts_new_users_posts_and_active_users_and_no_hour_of_the_new_month(world: World) -> None:
    february, march = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    moments = {"before": to_ms(february) - 1, "first": to_ms(february), "last": to_ms(march) - 1, "new": to_ms(march)}
    for title, moment in moments.items():
        world.add_users(1, prefix=title, created_at=moment)
        world.add_posts(title, created_at=moment)
    add_activity(world, "2026-02", "a", "b", "c")
    fire(world)
    *earlier, january, reported = figures(world)
    assert reported == {"month": "2026-02", "new_users": 2, "new_posts": 2, "active_users": 3}
    assert january == {"month": "2026-01", "new_users": 1, "new_posts": 1, "active_users": None}
    assert [month["month"] for month in earlier] == ["2025-02", *(f"2025-{n:02}" for n in range(3, 13))]
    html = read(world, "html")[1]
    assert "first" in html
    assert "last" in html
    assert [post["title"] for post in json.loads(read(world, "json")[1])["top_posts"]] == ["first", "last"]


@pytest.mark.parametrize(
    ("zone", "moment", "month"),
    [
        ("UTC", "2026-03-01T09:00", "2026-02"),
        ("UTC", "2026-03-01T00:00", "2026-02"),
        ("UTC", "2026-02-28T23:59", "2026-01"),
        ("America/Los_Angeles", "2026-03-01T09:00", "2026-02"),
        # There, the last day of February has an hour to go.
        ("Pacific/Honolulu", "2026-03-01T09:00", "2026-01"),
        ("Asia/Tokyo", "2026-02-28T15:00", "2026-02"),
    ],
)
def test_the_month_is_the_last_that_had_ended_in_the_zone(world: World, zone: str, moment: str, month: str) -> None:
    world.configure(digest_zone=ZoneInfo(zone))
    fire(world, datetime.fromisoformat(moment).replace(tzinfo=UTC))
    assert {key.split("/")[1] for key in stored(world)} == {month}


def test_a_late_fire_reports_the_same_month(world: World) -> None:
    world.clock.advance(40 * 86_400)
    fire(world)
    assert {key.split("/")[1] for key in stored(world)} == {"2026-02"}


def test_each_figure_is_compared_with_the_month_before(world: World) -> None:
    january = to_ms(datetime(2026, 1, 10, tzinfo=UTC))
    world.add_users(4, prefix="january", created_at=january)
    world.add_users(5, prefix="february", created_at=MID_FEBRUARY)
    world.add_posts("one", "two", created_at=january)
    world.add_posts("three", created_at=MID_FEBRUARY)
    add_activity(world, "2026-01", "a")
    add_activity(world, "2026-02", "b")
    fire(world)
    html = read(world, "html")[1]
    assert "25% more than in January 2026" in html
    assert "50% fewer than in January 2026" in html
    assert "as many as in January 2026" in html


def test_a_day_that_was_not_recorded_leaves_the_month_without_active_users_everywhere(world: World) -> None:
    add_activity(world, "2026-02", "a", "b")
    world.execute(delete(activity_days).where(activity_days.c.day == "2026-02-17"))
    fire(world)
    assert figures(world)[-1]["active_users"] is None
    assert list(csv.DictReader(io.StringIO(read(world, "csv")[1])))[-1]["active_users"] == ""
    assert "no data" in read(world, "html")[1]
    world.drain()
    assert "no data" in html_part(world.aws.sent()[0].content)


def test_active_users_do_not_depend_on_sessions_that_are_gone_or_still_there(world: World) -> None:
    add_activity(world, "2026-02", "a", "b")
    row = {"id": "s", "user_id": "c", "created_at": MID_FEBRUARY, "updated_at": MID_FEBRUARY}
    world.execute(insert(sessions).values(row))
    fire(world)
    assert figures(world)[-1]["active_users"] == 2


def test_a_month_made_again_has_the_same_figures_though_users_and_posts_were_deleted(world: World) -> None:
    world.add_users(3, prefix="february", created_at=MID_FEBRUARY)
    world.add_posts("one", "two", created_at=MID_FEBRUARY)
    add_activity(world, "2026-02", "a")
    fire(world)
    before = figures(world)
    for statement in (delete(users).where(users.c.is_admin.is_(False)), delete(posts), delete(activity)):
        world.execute(statement)
    world.clock.advance(86_400)
    ask(world, month="2026-02")
    assert figures(world) == before
    assert before[-1] == {"month": "2026-02", "new_users": 3, "new_posts": 2, "active_users": 1}
    # A post that was deleted is told of no more.
    assert json.loads(read(world, "json")[1])["top_posts"] == []


def test_any_closed_month_can_be_asked_for(world: World) -> None:
    world.add_users(1, prefix="old", created_at=to_ms(datetime(2025, 6, 30, 23, 59, tzinfo=UTC)))
    assert ask(world, month="2025-06")["outcome"] == "succeeded"
    assert figures(world, month="2025-06")[-1]["new_users"] == 1
    world.clock.advance(60)
    assert ask(world, month="1970-03")["outcome"] == "succeeded"
    assert [each["month"] for each in figures(world, month="1970-03")] == ["1970-01", "1970-02", "1970-03"]


def test_without_a_month_a_person_gets_the_last_that_has_ended(world: World) -> None:
    assert ask(world, month=None)["outcome"] == "succeeded"
    assert {key.split("/")[1] for key in stored(world)} == {"2026-02"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"month": "2026-2"}, "A month is written like 2026-02, not '2026-2'"),
        ({"month": "2026-02\n"}, "A month is written like 2026-02"),
        ({"month": ""}, "A month is written like 2026-02, not ''"),
        ({"month": "٢٠٢٦-٠٢"}, "A month is written like 2026-02"),
        ({"month": "x" * 100_000}, "A month is written like 2026-02"),
        ({"month": "2026-13"}, "2026-13 is not a month"),
        ({"month": "1969-12"}, "1969-12 is not a month"),
        ({"month": 202602}, r"Expected `str \| null`, got `int` - at `\$.month`"),
        ({"month": ["2026-02"]}, r"Expected `str \| null`, got `array` - at `\$.month`"),
        ({"month": "2026-02", "mail": "yes"}, r"Expected `bool \| null`, got `str` - at `\$.mail`"),
        ({"month": "2026-03"}, "the month 2026-03 has not ended yet; ask for an earlier one"),
        ({"month": "9998-12"}, "the month 9998-12 has not ended yet"),
        ({"months": "2026-02"}, "unknown key 'months' in the payload; did you mean 'month'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_reported_is_refused_in_one_sentence(world: World, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(RunFailedError, match=f"monthly_report dead: .*{reason}") as refused:
        ask(world, **{"mail": True} | options)
    assert len(str(refused.value)) < 250
    assert "\n" not in str(refused.value)
    assert (stored(world), amount(world, month_figures), amount(world, jobs)) == ([], 0, 0)


def test_a_month_that_has_not_ended_in_the_zone_is_refused_though_it_has_in_utc(world: World) -> None:
    world.configure(digest_zone=ZoneInfo("Pacific/Honolulu"))
    with pytest.raises(RunFailedError, match="the month 2026-02 has not ended yet"):
        ask(world, month="2026-02")


def test_verified_administrators_get_one_mail_each_and_nobody_else_does(world: World) -> None:
    world.add_users(1, prefix="unverified", is_admin=True, is_verified=False)
    world.add_users(1, prefix="reader")
    world.add_posts("The best one", created_at=MID_FEBRUARY)
    fire(world)
    world.drain()
    assert sorted(world.recipients()) == ["admin0@example.com", "admin1@example.com"]
    mail = world.aws.sent()[0].content
    assert str(parse_mail(mail)["Subject"]) == "Slow Harbour: February 2026 in figures"
    assert "The best one" in html_part(mail)
    assert "reports/2026-02/report.html" in html_part(mail)


def test_without_administrators_the_report_is_stored_all_the_same(world: World) -> None:
    world.execute(update(users).values(is_admin=False))
    assert fire(world)["total"] == 0
    assert len(stored(world)) == 3
    assert amount(world, jobs) == 0


def test_a_months_mail_goes_out_once_however_often_the_schedule_fires(world: World) -> None:
    fire(world)
    assert fire(world)["outcome"] == "skipped"
    for minutes in (1, 600):
        world.clock.advance(60 * minutes)
        assert fire(world, FIRST + timedelta(minutes=minutes))["outcome"] == "succeeded"
        world.drain()
    assert sorted(world.recipients()) == ["admin0@example.com", "admin1@example.com"]


@pytest.mark.parametrize(("trigger", "mails"), [("catch_up", 2), ("backfill", 0)])
def test_a_fire_that_is_made_up_for_mails_as_the_schedule_does_and_a_backfill_nobody(
    world: World, trigger: Trigger, mails: int
) -> None:
    late = {"scheduled_for": FIRST.isoformat()}
    execution.execute("monthly_report", event=late | {"trigger": trigger}, context=world.context())
    world.drain()
    assert len(world.recipients()) == mails
    world.clock.advance(60)
    fire(world, FIRST + timedelta(minutes=1))
    world.drain()
    assert sorted(world.recipients()) == ["admin0@example.com", "admin1@example.com"]


def test_the_next_months_mail_goes_out_again(world: World) -> None:
    fire(world)
    world.clock.advance(31 * 86_400)
    fire(world, FIRST + timedelta(days=31))
    world.drain()
    subjects = {str(parse_mail(mail.content)["Subject"]).partition(": ")[2] for mail in world.aws.sent()}
    assert subjects == {"February 2026 in figures", "March 2026 in figures"}
    assert len(world.recipients()) == 4


@pytest.mark.parametrize("event", ["schedule", "manual"])
def test_a_run_that_dies_after_its_mails_were_enqueued_mails_nobody_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    def die(*_: Any) -> None:
        raise Killed

    again: Callable[[], dict[str, Any]] = {
        "schedule": lambda: fire(world, request_id="r1"),
        "manual": lambda: ask(world, request_id="r1", month="2026-02", mail=True),
    }[event]
    for _ in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(claims, "finish", die)
            with pytest.raises(Killed):
                again()
        world.drain()
    assert again()["outcome"] == "succeeded"
    world.drain()
    assert sorted(world.recipients()) == ["admin0@example.com", "admin1@example.com"]


def test_a_person_gets_mail_only_when_asked_for_and_then_once_a_request(world: World) -> None:
    assert ask(world, month="2026-02")["skipped"] == 2
    world.clock.advance(60)
    ask(world, month="2026-02", mail=False)
    world.drain()
    assert world.recipients() == []
    for _ in range(2):
        world.clock.advance(60)
        summary = ask(world, request_id=f"r{world.clock.now_ms()}", month="2026-02", mail=True)
        assert (summary["succeeded"], summary["skipped"]) == (2, 0)
        assert ask(world, month="2026-02", mail=True)["outcome"] == "skipped"
        world.drain()
    assert sorted(world.recipients()) == [*["admin0@example.com"] * 2, *["admin1@example.com"] * 2]


def test_mail_that_a_person_asked_for_does_not_take_the_place_of_the_schedules(world: World) -> None:
    ask(world, scheduled_for="2026-03-01T08:00:00Z", mail=True)
    fire(world)
    world.drain()
    assert len(world.recipients()) == 4


def test_a_dry_run_changes_nothing(world: World) -> None:
    summary = ask(world, scheduled_for="2026-03-01T09:00:00Z", mail=True, dry_run=True)
    assert (summary["outcome"], summary["total"], summary["skipped"]) == ("succeeded", 2, 2)
    assert (stored(world), amount(world, month_figures), amount(world, jobs)) == ([], 0, 0)
    assert fire(world)["outcome"] == "succeeded"


def test_a_dry_run_refuses_what_a_run_would(world: World) -> None:
    with pytest.raises(RunFailedError, match="has not ended yet"):
        ask(world, month="2026-03", dry_run=True)


def test_a_bucket_that_refuses_makes_the_run_fail_without_mail_and_its_repetition_completes_it(world: World) -> None:
    bucket = world.environment["BUCKET"]
    world.configure(bucket=f"{bucket}-missing")
    sentence = r"monthly_report failed: reports/2026-02/report\.html cannot be stored: .*NoSuchBucket"
    with pytest.raises(RunFailedError, match=sentence):
        fire(world, request_id="r1")
    assert amount(world, jobs) == 0
    world.configure(bucket=bucket)
    assert fire(world, request_id="r1")["outcome"] == "succeeded"
    world.drain()
    assert len(stored(world)) == 3
    assert sorted(world.recipients()) == ["admin0@example.com", "admin1@example.com"]


def test_a_bucket_that_refuses_the_second_format_leaves_nobody_a_mail_about_half_a_report(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = Store.put

    def refuse_csv(store: Store, key: str, content: bytes, *, content_type: str) -> None:
        if key.endswith(".csv"):
            raise TransientError(f"{key} cannot be stored: SlowDown")
        put(store, key, content, content_type=content_type)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "put", refuse_csv)
        for outcome in ("failed", "failed"):
            with pytest.raises(RunFailedError, match=f"monthly_report {outcome}: .*SlowDown"):
                fire(world, request_id="r1")
    assert (len(stored(world)), amount(world, jobs)) == (1, 0)
    assert fire(world, request_id="r1")["outcome"] == "succeeded"
    world.drain()
    assert (len(stored(world)), len(world.recipients())) == (3, 2)


def test_a_queue_that_does_not_answer_does_not_lose_the_mails(world: World) -> None:
    url = world.environment["WORK_QUEUE_URL"]
    world.configure(work_queue_url=f"{url}-missing")
    assert fire(world)["outcome"] == "succeeded"
    # They wait for dispatch.
    assert {row.status for row in world.execute(select(jobs))} == {"pending"}


def test_a_site_name_with_odd_spaces_makes_a_subject_that_a_mail_takes(world: World) -> None:
    world.configure(site_name=" Slow\tHarbour\u2028")
    fire(world)
    world.drain()
    assert str(parse_mail(world.aws.sent()[0].content)["Subject"]) == "Slow Harbour : February 2026 in figures"


def test_titles_cannot_inject_anything_into_the_page_or_the_mail(world: World) -> None:
    world.add_posts("<script>alert(1)</script>", created_at=MID_FEBRUARY, url="https://x.example/?a=1&b=2")
    fire(world)
    world.drain()
    for html in (read(world, "html")[1], html_part(world.aws.sent()[0].content)):
        assert "<script>alert" not in html
        assert "&lt;script&gt;alert(1)" in html
