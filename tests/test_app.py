"""The triggers: what Lambda, EventBridge, SQS and people send, through the functions that Lambda calls."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select

import app
from chalicelib.core.errors import InvalidRequestError, RunFailedError
from chalicelib.schema import jobs
from nightshift.local.invocation import LocalContext, invoke, scheduled_event, sqs_event
from tests.world import MORNING, World

Log = Callable[[], list[dict[str, Any]]]


def test_an_eventbridge_event_runs_the_task(world: World) -> None:
    assert invoke("daily_digest", scheduled_event(MORNING))["scheduled_for"] == "2016-08-04T08:00:00Z"


@pytest.mark.parametrize("event", [{}, None])
def test_an_invocation_with_nothing_runs_the_task_for_this_minute(world: World, event: object) -> None:
    summary = invoke("daily_digest", event)
    assert (summary["outcome"], summary["trigger"]) == ("succeeded", "manual")
    assert summary["scheduled_for"].endswith(":00Z")


def test_an_invocation_with_a_payload_runs_the_task_for_that_moment(world: World) -> None:
    summary = invoke("daily_digest", {"scheduled_for": "2016-08-04T10:00:00+02:00", "dry_run": True})
    assert (summary["scheduled_for"], summary["dry_run"]) == ("2016-08-04T08:00:00Z", True)


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        (
            {"schedule_for": "2016-08-04T08:00:00Z"},
            "unknown key 'schedule_for' in the payload; did you mean 'scheduled_for'",
        ),
        ({"dry_run": "yes"}, "dry_run must be true or false, not 'yes'"),
        ({"scheduled_for": "tomorrow"}, "scheduled_for must be a moment such as"),
        (["daily_digest"], "the payload must be a JSON object, not a list"),
    ],
)
def test_a_wrong_key_or_value_gets_one_sentence_that_names_it(world: World, payload: object, sentence: str) -> None:
    with pytest.raises(RunFailedError) as caught:
        invoke("daily_digest", payload)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_function_answers_an_invocation_with_nothing(world: World) -> None:
    others = {"dispatch", "watch", "operate", "look", "work", "work_priority", "mail_feedback"}
    assert set(app.app.handler_map) == {*app.app.schedules, *others}
    outcomes = {task: invoke(task, {})["outcome"] for task in app.app.schedules}
    without_a_place = dict.fromkeys(("cache_warming", "external_sync"), "skipped")
    assert outcomes == dict.fromkeys(app.app.schedules, "succeeded") | without_a_place
    with pytest.raises(RunFailedError, match="this is no event of SNS"):
        invoke("mail_feedback", {})
    for function in ("dispatch", "watch"):
        assert invoke(function, {})["outcome"] == "succeeded"
    for worker in ("work", "work_priority"):
        assert invoke(worker, {}) == {"messages": 0}
    for function, sentence in (
        ("operate", "must be an object with a command"),
        ("look", "look only accepts"),
    ):
        with pytest.raises(InvalidRequestError, match=sentence):
            invoke(function, {})


@pytest.mark.parametrize("worker", ["work", "work_priority"])
def test_a_worker_refuses_what_is_no_sqs_event(world: World, worker: str) -> None:
    with pytest.raises(InvalidRequestError, match="the worker takes SQS events"):
        invoke(worker, {"type": "send_digest", "data": {}})


def test_an_eventbridge_event_dispatches_what_is_due_to_the_queue_that_it_is_meant_for(world: World) -> None:
    due = {"type": "continue_run", "data": "{}", "status": "pending", "created_at": 0}
    world.execute(insert(jobs), [{"id": "1", "queue": "work", **due}, {"id": "2", "queue": "priority", **due}])
    summary = invoke("dispatch", scheduled_event(MORNING))
    assert (summary["task"], summary["total"], summary["succeeded"]) == ("dispatch", 2, 2)
    (ordinary,) = world.receive()
    assert json.loads(ordinary["Body"])["id"] == "1"
    (urgent,) = world.sqs.receive_message(QueueUrl=world.environment["PRIORITY_QUEUE_URL"])["Messages"]
    assert json.loads(urgent["Body"])["id"] == "2"


def test_each_worker_acknowledges_on_its_own_queue(world: World) -> None:
    url = world.environment["PRIORITY_QUEUE_URL"]
    for type_ in ("unheard_of", "send_digest"):
        body = json.dumps({"type": type_, "data": {"day": "2016-08-03", "first": "", "last": "z"}})
        world.sqs.send_message(QueueUrl=url, MessageBody=body)
    messages = world.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert invoke("work_priority", sqs_event(messages)) == {"messages": 2, "dead": 2}
    assert {job.queue for job in world.execute(select(jobs))} == {"priority"}


def test_a_fire_and_its_mails_through_the_functions(world: World) -> None:
    world.add_users(2)
    world.add_posts("Hello")
    invoke("daily_digest", scheduled_event(MORNING))
    assert invoke("work", sqs_event(world.receive())) == {"messages": 1, "succeeded": 1}
    assert len(world.recipients()) == 2


def test_a_run_writes_one_summary_line_and_its_metrics(world: World, log: Log) -> None:
    world.add_users(2)
    world.add_posts("Hello")
    context = LocalContext(function_name="daily_digest", aws_request_id="r1")
    app.daily_digest(scheduled_event(MORNING), context)
    started, summary, metrics = log()
    assert started["message"] == "run started"
    assert summary["message"] == "run succeeded"
    expected = {
        "task": "daily_digest",
        "run_id": started["run_id"],
        "request_id": "r1",
        "scheduled_for": "2016-08-04T08:00:00Z",
        "outcome": "succeeded",
        "total": 2,
        "succeeded": 2,
        "failed": 0,
        "skipped": 0,
    }
    assert {key: summary[key] for key in expected} == expected
    assert isinstance(summary["duration_ms"], int)
    assert metrics["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Nightshift"
    assert metrics["run_succeeded"] == [1.0]
    assert metrics["task"] == "daily_digest"


def test_a_persons_slip_writes_one_summary_line_too_and_rings_no_alarm(world: World, log: Log) -> None:
    with pytest.raises(RunFailedError):
        invoke("daily_digest", {"nonsense": 1})
    (summary,) = log()
    assert (summary["outcome"], summary["error_type"]) == ("dead", "InvalidRequestError")


def test_a_rule_that_sends_what_cannot_be_read_rings(world: World, log: Log) -> None:
    with pytest.raises(RunFailedError):
        invoke("daily_digest", scheduled_event(MORNING) | {"time": "noon"})
    summary, metrics = log()
    assert (summary["outcome"], summary["error_type"]) == ("dead", "InvalidRequestError")
    assert metrics["run_dead"] == [1.0]


def test_no_line_names_a_reader(world: World, log: Log) -> None:
    world.add_users(1, email="not.one@plain.example.com, x")
    world.add_posts("Hello")
    invoke("daily_digest", scheduled_event(MORNING))
    invoke("work", sqs_event(world.receive()))
    lines = log()
    assert "digest refused" in [line.get("message") for line in lines]
    assert "not.one@plain" not in json.dumps(lines)
