"""Enqueueing by hand: the same job as the application's, or a sentence that says why there is none."""

import json
from datetime import timedelta
from typing import Any

import pytest

from nightshift.testkit.kit import NOON
from tests.operate.conftest import Desk

DATA = {"name": "Ann"}


def test_a_job_is_recorded_sent_and_performed(desk: Desk) -> None:
    answer = desk.ask("enqueue", type="greet", data=DATA)
    assert answer["is_new"] is True
    row = desk.kit.job(answer["id"])
    assert (row.type, json.loads(row.data), row.queue, row.status) == ("greet", DATA, "work", "pending")
    assert json.loads(row.envelope)["source"] == "nightshift enqueue"
    desk.kit.drain()
    assert desk.names() == ["Ann"]


def test_a_job_of_the_priority_queue_goes_there(desk: Desk) -> None:
    id_ = desk.ask("enqueue", type="greet", data=DATA, queue="priority")["id"]
    desk.kit.drain()
    assert (desk.kit.job(id_).queue, desk.done) == ("priority", [])


def test_a_job_for_later_begins_then(desk: Desk) -> None:
    run_at = (NOON + timedelta(hours=2)).isoformat()
    desk.ask("enqueue", type="greet", data=DATA, run_at=run_at)
    desk.kit.dispatch()
    desk.kit.drain()
    assert desk.done == []
    desk.kit.clock.advance(2 * 3600)
    desk.kit.dispatch()
    desk.kit.drain()
    assert desk.names() == ["Ann"]


def test_the_same_key_twice_is_one_job_and_another_types_is_another(desk: Desk) -> None:
    first = desk.ask("enqueue", type="greet", data=DATA, idempotency_key="welcome 7")
    again = desk.ask("enqueue", type="greet", data={"name": "Bob"}, idempotency_key="welcome 7")
    other = desk.ask("enqueue", type="wave", data=DATA, idempotency_key="welcome 7")
    assert again == {"id": first["id"], "is_new": False}
    assert (first["is_new"], other["is_new"], len(desk.statuses())) == (True, True, 2)
    desk.kit.drain()
    assert desk.names() == ["Ann", "Ann"]


def test_where_the_queue_does_not_answer_the_job_waits_for_dispatch(desk: Desk) -> None:
    desk.kit.sqs.refuse.add("SendMessageBatch")
    id_ = desk.ask("enqueue", type="greet", data=DATA)["id"]
    desk.kit.drain()
    assert (desk.statuses(), desk.done) == ({id_: "pending"}, [])
    desk.kit.sqs.refuse.clear()
    desk.kit.settle()
    assert desk.names() == ["Ann"]


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"type": "send_emial", "data": {}}, "there is no handler for jobs of type 'send_emial'; there are "),
        ({"type": "greet", "data": {"name": 7}}, "the job's data is not valid: Expected `str`, got `int`"),
        ({"type": "greet", "data": []}, "the request jobs enqueue is not valid: Expected `object`, got `array`"),
        ({"type": "greet"}, "the request jobs enqueue is not valid: Object missing required field `data`"),
        ({"type": "", "data": DATA}, "the request jobs enqueue is not valid: Expected `str` of length >= 1"),
        (
            {"type": "greet", "data": DATA, "run_at": "tomorrow"},
            "the request jobs enqueue is not valid: Invalid RFC3339 encoded datetime - at `$.run_at`",
        ),
        (
            {"type": "greet", "data": DATA, "run_at": "2026-03-02T13:00:00"},
            "the request jobs enqueue is not valid: Expected `datetime` with a timezone component - at `$.run_at`",
        ),
        (
            {"type": "greet", "data": DATA, "idempotency_key": ""},
            "the request jobs enqueue is not valid: Expected `str` of length >= 1",
        ),
        (
            {"type": "greet", "data": DATA, "idempotency_key": "k" * 256},
            "the message is not valid: Expected `str` of length <= 255 - at `$.idempotency_key`",
        ),
        ({"type": "greet", "data": DATA, "queue": "fast"}, "the request jobs enqueue is not valid: Invalid enum value"),
        (
            {"type": "greet", "data": DATA, "id": "mine"},
            "the request jobs enqueue is not valid: Object contains unknown",
        ),
        ({"type": "greet", "data": {"name": "x" * 7_400_000}}, "the message has 7400109 bytes, and "),
    ],
    ids=[
        "type",
        "payload",
        "list",
        "none",
        "empty type",
        "no moment",
        "no zone",
        "no key",
        "key",
        "queue",
        "id",
        "long",
    ],
)
def test_what_cannot_be_enqueued_is_refused_with_a_sentence(
    desk: Desk, request_: dict[str, Any], sentence: str
) -> None:
    assert desk.refusal("enqueue", **request_).startswith(sentence)


def test_the_nearest_type_is_suggested_where_one_is_near(desk: Desk) -> None:
    assert desk.refusal("enqueue", type="send_emial", data={}).endswith("; did you mean send_email?")
    assert "did you mean" not in desk.refusal("enqueue", type="xyz", data={})
