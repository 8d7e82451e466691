"""kill -9 at the worst moments, and several of the same at once: nothing lost, nothing done twice."""

import json
import signal
from collections import Counter
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select

from chalicelib.application import sessions
from chalicelib.core.clock import SystemClock, to_ms
from chalicelib.mail.ledger import SENDING_LIMIT_MS
from chalicelib.runs import execution
from chalicelib.schema import activity, activity_days, jobs
from nightshift.local.environment import BUCKET
from nightshift.local.invocation import scheduled_event, sqs_event
from tests import forked
from tests.runs import dying
from tests.world import MORNING, World

SEND_MESSAGES, SEND_MAIL, SEND_BULK = "sqs.SendMessageBatch", "sesv2.SendEmail", "sesv2.SendBulkEmail"
# Of deliveries: the first when they are claimed, the second when what became of them is recorded.
COMMIT_DELIVERIES = "commit.deliveries"
# Of a job: the first when it is claimed, the second when its attempt has ended.
COMMIT_JOB = "commit.jobs"
# Lambda's limit, and the minute that a lease lasts beyond it.
LEASE_SECONDS = 300 + 60
MAY_HAVE_BEEN_SENT = (
    "an earlier attempt ended in the call to SES, so it may have been sent; retry the job to send it again"
)


def start(
    world: World, function: str, event: object, *, die_at: tuple[str, int, str], request_id: str = "r1"
) -> forked.Begun:
    operation, nth, moment = die_at
    arguments = (function, request_id, operation, str(nth), moment)
    return forked.begin(dying.main, *arguments, environment=world.environment, typed=json.dumps(event))


def run_to_death(world: World, function: str, event: object, *, die_at: tuple[str, int, str]) -> None:
    done = start(world, function, event, die_at=die_at).end()
    assert done.returncode == -signal.SIGKILL, done.stderr


def catch_up(world: World) -> None:
    """Bring the frozen clock to the time that other processes saw."""
    world.clock.advance((SystemClock().now_ms() - world.clock.now_ms()) / 1000)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_fan_out_killed_around_a_send_is_completed_by_its_repetition(world: World, nth: int, moment: str) -> None:
    wanted = world.add_users(2500)
    world.add_posts("Hello")
    run_to_death(world, "daily_digest", scheduled_event(MORNING), die_at=(SEND_MESSAGES, nth, moment))
    catch_up(world)
    # Lambda repeats the request under the same id; that is how the live lease of the dead attempt is taken over.
    summary = world.fire(request_id="r1")
    assert (summary["outcome"], summary["total"], summary["attempt"]) == ("succeeded", 2500, 2)
    assert world.fire()["outcome"] == "skipped"
    ranges = [json.loads(message["Body"])["data"] for message in world.receive()]
    assert all(any(r["first"] <= user <= r["last"] for r in ranges) for user in wanted)


def test_a_second_request_leaves_the_run_of_a_killed_one_alone_until_its_lease_has_lapsed(world: World) -> None:
    world.add_users(1)
    world.add_posts("Hello")
    run_to_death(world, "daily_digest", scheduled_event(MORNING), die_at=(SEND_MESSAGES, 1, "before"))
    catch_up(world)
    assert "held by request r1" in world.fire(request_id="r2")["reason"]
    world.clock.advance(300 + 61)
    assert world.fire(request_id="r3")["outcome"] == "succeeded"
    assert world.messages_left() == 1


@pytest.mark.parametrize(("moment", "mails"), [("before", 50), ("after", 51)])
def test_a_worker_killed_around_a_mail_sends_the_others_once_and_surfaces_that_one(
    world: World, moment: str, mails: int
) -> None:
    # Fifty go in bulk, and the last by itself.
    world.add_users(51)
    world.add_posts("Hello")
    world.fire()
    messages = world.receive()
    run_to_death(world, "work", sqs_event(messages), die_at=(SEND_MAIL, 1, moment))
    assert len(world.recipients()) == mails
    catch_up(world)
    world.clock.advance(SENDING_LIMIT_MS / 1000 + 1)
    world.work(messages)
    assert Counter(world.ledger().values()) == {"sent": 50, "unknown": 1}
    assert len(world.recipients()) == len(set(world.recipients())) == mails


@pytest.mark.parametrize(
    ("die_at", "status", "mails"),
    [
        ((COMMIT_DELIVERIES, 1, "before"), "sent", 5),
        ((COMMIT_DELIVERIES, 1, "after"), "unknown", 0),
        ((SEND_BULK, 1, "before"), "unknown", 0),
        ((SEND_BULK, 1, "after"), "unknown", 5),
        ((COMMIT_DELIVERIES, 2, "before"), "unknown", 5),
        ((COMMIT_DELIVERIES, 2, "after"), "sent", 5),
    ],
)
def test_a_worker_killed_around_mails_in_bulk_sends_none_twice_and_surfaces_all_of_which_nobody_knows(
    world: World, die_at: tuple[str, int, str], status: str, mails: int
) -> None:
    world.add_users(5)
    world.add_posts("Hello")
    world.fire()
    messages = world.receive()
    run_to_death(world, "work", sqs_event(messages), die_at=die_at)
    catch_up(world)
    world.clock.advance(SENDING_LIMIT_MS / 1000 + 1)
    world.work(messages)
    assert Counter(world.ledger().values()) == {status: 5}
    assert len(world.recipients()) == len(set(world.recipients())) == mails


@pytest.mark.parametrize(
    ("die_at", "sent_before", "status", "mails"),
    [
        ((COMMIT_JOB, 1, "before"), 0, "completed", 1),
        ((COMMIT_JOB, 1, "after"), 0, "completed", 1),
        ((SEND_MAIL, 1, "before"), 0, "dead", 0),
        ((SEND_MAIL, 1, "after"), 1, "dead", 1),
        ((COMMIT_JOB, 2, "before"), 1, "completed", 1),
        ((COMMIT_JOB, 2, "after"), 1, "completed", 1),
    ],
)
def test_a_mails_job_is_completed_when_its_message_comes_again_unless_nobody_can_know(
    world: World, die_at: tuple[str, int, str], sent_before: int, status: str, mails: int
) -> None:
    mail = {"to": "ann@example.org", "subject": "Hello", "text": "Hello."}
    message = json.dumps({"type": "send_email", "data": mail, "id": "one"})
    world.sqs.send_message(QueueUrl=world.environment["WORK_QUEUE_URL"], MessageBody=message)
    messages = world.receive()
    run_to_death(world, "work", sqs_event(messages), die_at=die_at)
    assert len(world.recipients()) == sent_before
    catch_up(world)
    world.clock.advance(LEASE_SECONDS + 1)
    world.work(messages)
    world.work(messages)
    (job,) = world.execute(select(jobs))
    assert (job.status, job.attempts) == (status, 1)
    assert len(world.recipients()) == mails
    reasons = [letter["MessageAttributes"]["reason"]["StringValue"] for letter in world.dead_letters()]
    assert reasons == ([MAY_HAVE_BEEN_SENT] if status == "dead" else [])


def test_three_fires_of_the_same_moment_at_once_make_one_run(world: World) -> None:
    world.add_users(300)
    world.add_posts("Hello")
    never = (SEND_MESSAGES, 999, "before")
    processes = [
        start(world, "daily_digest", scheduled_event(MORNING), die_at=never, request_id=f"r{n}") for n in range(3)
    ]
    outcomes: list[str] = []
    for process in processes:
        done = process.end()
        assert done.returncode == 0, done.stderr
        outcomes += [line["outcome"] for line in map(json.loads, done.stdout.splitlines()) if "outcome" in line]
    assert world.run().status == "succeeded"
    assert world.messages_left() == 3
    assert sorted(outcomes) == ["skipped", "skipped", "succeeded"]


def test_workers_with_copies_of_the_same_message_send_each_mail_once(world: World) -> None:
    world.add_users(100)
    world.add_posts("Hello")
    world.fire()
    messages = world.receive()
    never = (SEND_MAIL, 999, "before")
    processes = [start(world, "work", sqs_event(messages), die_at=never) for _ in range(3)]
    for process in processes:
        process.end()
    assert len(world.recipients()) == len(set(world.recipients())) == 100
    assert set(world.ledger().values()) == {"sent"}


def finish(world: World, task: str, moment: datetime) -> None:
    """Have Lambda repeat the request whose process was killed, and then the fire come once more."""
    catch_up(world)
    for request_id in ("r1", "r2"):
        summary = execution.execute(task, event=scheduled_event(moment), context=world.context(request_id=request_id))
    assert summary["outcome"] == "skipped"


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("operation", "nth"),
    [
        ("commit.runs", 1),
        ("commit.activity", 1),
        ("commit.activity", 9),
        ("commit.activity_days", 1),
        ("commit.runs", 2),
    ],
)
def test_a_day_whose_recording_was_killed_is_recorded_as_if_undisturbed(
    world: World, operation: str, nth: int, moment: str
) -> None:
    hours = [to_ms(MORNING) - 86_400_000 + 3_600_000 * hour for hour in (0, 3, 9)]
    rows = [{"id": f"s{n}", "user_id": f"u{n % 2}", "created_at": 0, "updated_at": ms} for n, ms in enumerate(hours)]
    world.execute(insert(sessions), rows)
    night = MORNING.replace(hour=0, minute=5)
    run_to_death(world, "record_activity", scheduled_event(night), die_at=(operation, nth, moment))
    finish(world, "record_activity", night)
    assert {(row.day, row.user_id) for row in world.execute(select(activity))} == {
        ("2016-08-03", "u0"),
        ("2016-08-03", "u1"),
    }
    assert [(row.day, row.users) for row in world.execute(select(activity_days))] == [("2016-08-03", 2)]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("operation", "nth"),
    [("commit.runs", 1), ("commit.month_figures", 1), ("s3.PutObject", 2), ("commit.jobs", 1), ("commit.runs", 2)],
)
def test_a_report_whose_making_was_killed_is_stored_whole_and_mailed_to_each_administrator_once(
    world: World, operation: str, nth: int, moment: str
) -> None:
    world.add_users(2, is_admin=True)
    first = datetime(2016, 8, 1, 9, tzinfo=UTC)
    run_to_death(world, "monthly_report", scheduled_event(first), die_at=(operation, nth, moment))
    finish(world, "monthly_report", first)
    stored = world.aws.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="reports/2016-07/")["Contents"]
    assert [each["Key"].rpartition(".")[2] for each in stored] == ["csv", "html", "json"]
    assert len(world.execute(select(jobs))) == 2
    world.drain()
    assert len(world.recipients()) == len(set(world.recipients())) == 2
