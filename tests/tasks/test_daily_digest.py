"""The daily digest, from a fire to the mails in SES's outbox."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from chalicelib.application import posts
from chalicelib.core.errors import RunFailedError
from chalicelib.mail import suppressions
from chalicelib.mail.suppressions import Incident, Reason
from nightshift.local.aws import html_part, parse_mail
from tests.world import MORNING, World


def subject_of(world: World) -> str:
    return str(parse_mail(world.aws.sent()[0].content)["Subject"])


def html_of(world: World) -> str:
    return html_part(world.aws.sent()[0].content)


def test_every_verified_subscriber_gets_one_mail(world: World) -> None:
    wanted = world.add_users(3)
    world.add_users(1, prefix="unverified", is_verified=False)
    world.add_users(1, prefix="opted-out", email_digest=False)
    world.add_posts("Hello")
    summary = world.fire()
    world.drain()
    assert sorted(world.recipients()) == ["user0@example.com", "user1@example.com", "user2@example.com"]
    assert world.ledger() == dict.fromkeys(wanted, "sent")
    assert (summary["outcome"], summary["total"], summary["succeeded"]) == ("succeeded", 3, 3)
    assert world.messages_left() == 0


def test_suppressed_user_is_not_listed_and_others_are(world: World) -> None:
    ids = world.add_users(3)
    (suppressed,) = world.add_users(1, prefix="Jane", email="Jane@Example.org")
    world.add_posts("Hello")
    incident = Incident(
        address="jane@example.org", spellings=frozenset(), reason=Reason.COMPLAINT, message_id="1", at_ms=1, words=""
    )
    world.context().database.transact(lambda connection: suppressions.record(connection, incident, now_ms=1))
    summary = world.fire()
    assert (summary["total"], summary["succeeded"], summary["skipped"]) == (4, 3, 1)
    assert world.ledger() == dict.fromkeys(ids, "pending")
    world.drain()
    assert suppressed not in world.ledger()
    assert sorted(world.recipients()) == ["user0@example.com", "user1@example.com", "user2@example.com"]


def test_user_below_bounce_limit_is_listed(world: World) -> None:
    world.add_users(1, email="jane@example.org")
    world.add_posts("Hello")
    incident = Incident(
        address="jane@example.org", spellings=frozenset(), reason=Reason.TRANSIENT, message_id="1", at_ms=1, words=""
    )
    world.context().database.transact(lambda connection: suppressions.record(connection, incident, now_ms=1))
    world.fire()
    world.drain()
    assert world.recipients() == ["jane@example.org"]


def test_digest_has_posts_of_half_open_day_before_newest_first(world: World) -> None:
    world.add_users(1)
    midnight = datetime(2016, 8, 3, tzinfo=UTC)
    world.add_posts("too old", at=midnight - timedelta(milliseconds=1))
    world.add_posts("first", at=midnight)
    world.add_posts("last", at=midnight + timedelta(days=1, milliseconds=-1))
    world.add_posts("too new", at=midnight + timedelta(days=1))
    world.fire()
    world.drain()
    html = html_of(world)
    assert html.index("last") < html.index("first")
    assert "too old" not in html
    assert "too new" not in html
    assert "2 posts" in subject_of(world)


def test_day_is_in_digest_zone(world: World) -> None:
    world.configure(digest_zone=ZoneInfo("America/New_York"))
    world.add_users(1)
    world.add_posts("late evening in New York", at=datetime(2016, 8, 4, 3, 59, tzinfo=UTC))
    world.add_posts("past midnight in New York", at=datetime(2016, 8, 4, 4, 0, tzinfo=UTC))
    world.fire(datetime(2016, 8, 4, 12, 0, tzinfo=UTC))
    world.drain()
    assert "late evening" in html_of(world)
    assert "past midnight" not in html_of(world)


def test_late_fire_covers_the_same_day(world: World) -> None:
    world.add_users(1)
    world.add_posts("Hello")
    world.clock.advance(9 * 86_400)
    world.fire(MORNING)
    world.drain()
    assert world.recipients() == ["user0@example.com"]
    assert "3 August 2016" in subject_of(world)


def test_day_without_posts_sends_no_mail(world: World) -> None:
    world.add_users(2)
    assert world.fire()["outcome"] == "succeeded"
    world.drain()
    assert world.recipients() == []
    assert world.ledger() == {}


def test_more_posts_than_fit_are_counted(world: World) -> None:
    world.configure(digest_max_posts=3)
    world.add_users(1)
    world.add_posts("Post number 0", "Post number 1", "Post number 2", "Post number 3", "Post number 4")
    world.fire()
    world.drain()
    html = html_of(world)
    assert [
        title in html for title in ("Post number 0", "Post number 1", "Post number 2", "Post number 3", "Post number 4")
    ] == [False, False, True, True, True]
    assert "and 2 more" in html.lower()


def test_titles_and_names_cannot_inject_anything(world: World) -> None:
    world.add_users(1, name='<b>"Eve"</b>\r\nBcc: victim@example.org')
    world.add_posts("<script>alert(1)</script> & \"quotes\" 'too' \x00name\x00")
    world.fire()
    world.drain()
    (mail,) = world.aws.sent()
    assert parse_mail(mail.content).get_all("Bcc") is None
    assert "<script" not in html_part(mail.content)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp;" in html_part(mail.content)
    assert "<b>" not in html_part(mail.content)


def test_same_fire_again_does_nothing(world: World) -> None:
    world.add_users(2)
    world.add_posts("Hello")
    first = world.fire()
    world.drain()
    again = world.fire()
    assert (again["outcome"], again["total"]) == ("skipped", 0)
    assert first["run_id"] in again["reason"]
    assert world.messages_left() == 0


def test_second_fire_of_the_day_sends_only_missing_mails(world: World) -> None:
    world.add_users(2)
    world.add_posts("Hello")
    world.fire()
    world.drain()
    world.add_users(1, prefix="late")
    world.clock.advance(3600)
    summary = world.fire(MORNING + timedelta(hours=1))
    world.drain()
    assert (summary["total"], summary["succeeded"], summary["skipped"]) == (3, 1, 2)
    assert sorted(world.recipients()) == ["late0@example.com", "user0@example.com", "user1@example.com"]


def test_later_run_sends_first_runs_digest(world: World) -> None:
    world.add_users(1)
    world.add_posts("original title")
    world.fire()
    world.drain()
    world.execute(update(posts).values(title="changed title"))
    world.add_users(1, prefix="late")
    world.clock.advance(3600)
    world.fire(MORNING + timedelta(hours=1))
    world.drain()
    second = html_part(world.aws.sent()[1].content)
    assert "original title" in second
    assert "changed title" not in second


def test_dry_run_counts_and_changes_nothing(world: World) -> None:
    world.add_users(3)
    world.add_posts("Hello")
    summary = world.invoke({"scheduled_for": "2016-08-04T08:00:00Z", "dry_run": True})
    assert (summary["outcome"], summary["total"], summary["dry_run"]) == ("succeeded", 3, True)
    assert world.messages_left() == 0
    assert world.ledger() == {}
    assert world.fire()["outcome"] == "succeeded"


def test_run_near_deadline_continues_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chalicelib.tasks.daily_digest.CHUNK", 2)
    wanted = world.add_users(5)
    world.add_posts("Hello")
    # The clock is frozen, so an invocation shorter than the reserve is out of time from the beginning.
    assert world.fire(seconds=9)["continues"] is True
    assert world.ledger() == {}
    world.drain()
    assert world.ledger() == dict.fromkeys(wanted, "sent")
    assert (world.run().status, world.run().total) == ("succeeded", 5)


def test_messages_carry_at_most_a_hundred_recipients(world: World) -> None:
    world.add_users(250)
    world.add_posts("Hello")
    world.fire()
    assert world.messages_left() == 3


def test_queue_outage_fails_run_and_retry_completes_it(world: World) -> None:
    wanted = world.add_users(3)
    world.add_posts("Hello")
    whole = world.environment["WORK_QUEUE_URL"]
    world.configure(work_queue_url=f"{whole}-missing")
    with pytest.raises(RunFailedError, match="daily_digest failed: the work queue does not take messages"):
        world.fire(request_id="r1")
    world.configure(work_queue_url=whole)
    assert world.fire(request_id="r1")["outcome"] == "succeeded"
    world.drain()
    assert world.ledger() == dict.fromkeys(wanted, "sent")


def test_run_failed_too_often_stays_dead(world: World) -> None:
    world.add_users(1)
    world.add_posts("Hello")
    world.configure(work_queue_url=f"{world.environment['WORK_QUEUE_URL']}-missing")
    # SQS may be back within minutes, so this run has three attempts more, which the watch starts later.
    for outcome in ("failed",) * 5 + ("dead",):
        with pytest.raises(RunFailedError, match=f"daily_digest {outcome}"):
            world.fire(request_id="r1")
    with pytest.raises(RunFailedError, match="was given up"):
        world.fire(request_id="r1")
    assert (world.run().status, world.run().failures) == ("dead", 6)


def test_operator_can_rerun_dead_run(world: World) -> None:
    world.add_users(1)
    world.add_posts("Hello")
    whole = world.environment["WORK_QUEUE_URL"]
    world.configure(work_queue_url=f"{whole}-missing")
    for _ in range(3):
        with pytest.raises(RunFailedError):
            world.fire(request_id="r1")
    world.configure(work_queue_url=whole)
    assert world.invoke({"scheduled_for": "2016-08-04T08:00:00Z"})["outcome"] == "succeeded"
    assert world.messages_left() == 1
