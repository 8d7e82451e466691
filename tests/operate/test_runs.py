"""The history of runs, as an operator reads it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert

from app import PARTS
from chalicelib.core.clock import to_ms
from chalicelib.core.errors import InvalidRequestError
from chalicelib.operate import operate
from chalicelib.runs import execution
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import runs as runs_table
from nightshift.testkit.kit import NOON, Kit

PLANNED = {"record_activity": Schedule("5 0 * * *"), "daily_digest": Schedule("0 8 * * *")}
HOSTILE = "jane.doe@mail.example.org \x1b[31m" + "x" * 2000


def ask(kit: Kit, command: str, **request: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        json.dumps(operate({"command": command, **request}, kit.context(), PLANNED, PARTS))
    )
    return answer


def add(kit: Kit, id_: str, day: int, **values: Any) -> None:
    fixed = {"task": "record_activity", "trigger": "schedule", "status": "succeeded", "attempt": 1, "failures": 0}
    times = {"scheduled_for": to_ms(datetime(2026, 3, day, tzinfo=UTC)), "started_at": to_ms(NOON), "lease_until": 0}
    statement = insert(runs_table).values(id=id_, request_id="r", **fixed | times | values)
    kit.context().database.autocommit(lambda connection: connection.execute(statement))


def ids(kit: Kit, **request: Any) -> list[str]:
    return [run["id"] for run in ask(kit, "runs.list", **request)["runs"]]


def test_runs_are_listed_from_the_latest_fire_on_whichever_was_recorded_first(kit: Kit) -> None:
    for id_, day in (("b", 2), ("c", 3), ("a", 1)):
        add(kit, id_, day)
    assert ids(kit) == ["c", "b", "a"]
    assert ids(kit, limit=2) == ["c", "b"]


def test_runs_are_listed_by_task_and_status(kit: Kit) -> None:
    add(kit, "a", 1)
    add(kit, "b", 2, status="dead")
    add(kit, "c", 3, status="dead", task="daily_digest")
    assert ids(kit, task="record_activity") == ["b", "a"]
    assert ids(kit, status="dead") == ["c", "b"]
    assert ids(kit, task="daily_digest", status="dead") == ["c"]
    assert ids(kit, task="daily_digest", status="succeeded") == []


def test_a_run_is_told_with_its_moments_and_counts(kit: Kit) -> None:
    execution.execute(
        "record_activity", event={"scheduled_for": "2026-03-02T00:05:00Z"}, context=kit.context(request_id="r")
    )
    (told,) = ask(kit, "runs.list")["runs"]
    id_ = told.pop("id")
    assert told == {
        "task": "record_activity",
        "trigger": "manual",
        "status": "succeeded",
        "attempt": 1,
        "scheduled_for": "2026-03-02T00:05:00Z",
        "started_at": "2026-03-02T12:00:00Z",
        "finished_at": "2026-03-02T12:00:00Z",
        **dict.fromkeys(("total", "succeeded", "failed", "skipped"), 0),
        "lease_until": None,
        "error_type": None,
        "error": None,
    }
    shown = ask(kit, "runs.show", id=id_)
    assert shown.items() >= told.items()
    assert (shown["request_id"], shown["failures"], shown["lease_until"], shown["options"]) == ("r", 0, None, None)


def test_an_error_is_cut_in_a_list_and_whole_in_the_run_without_addresses(kit: Kit) -> None:
    add(kit, "a", 1, status="dead", error=HOSTILE)
    (told,) = ask(kit, "runs.list")["runs"]
    assert len(told["error"]) == 1000
    shown = ask(kit, "runs.show", id="a")["error"]
    assert shown == HOSTILE.replace("jane.doe", "j***")


def test_what_a_run_was_asked_with_and_where_it_stands_are_shown_without_secrets(kit: Kit) -> None:
    options, checkpoint = {"month": "2026-02", "api_token": "hunter2"}, {"last": "jane.doe@mail.example.org"}
    add(kit, "a", 1, status="running", options=json.dumps(options), checkpoint=json.dumps(checkpoint), lease_until=1000)
    shown = ask(kit, "runs.show", id="a")
    assert shown["options"] == {"month": "2026-02", "api_token": "[redacted]"}
    assert shown["checkpoint"] == {"last": "j***@mail.example.org"}
    assert (shown["lease_until"], shown["finished_at"]) == ("1970-01-01T00:00:01Z", None)


def test_a_task_that_is_no_more_has_its_history_still(kit: Kit) -> None:
    add(kit, "a", 1, task="weekly_digest")
    assert ids(kit, task="weekly_digest") == ["a"]


@pytest.mark.parametrize(
    ("command", "request_", "sentence"),
    [
        ("runs.list", {"task": "daily_digets"}, "there is no task 'daily_digets'; did you mean daily_digest?"),
        ("runs.list", {"task": ""}, "Expected `str` of length >= 1"),
        (
            "runs.list",
            {"status": "lost"},
            "status must be one of all, running, succeeded, skipped, failed, dead",
        ),
        ("runs.list", {"limit": 0}, "Expected `int` >= 1"),
        ("runs.show", {"id": "nobody"}, "there is no run with the id nobody"),
    ],
)
def test_what_makes_no_sense_is_refused(kit: Kit, command: str, request_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        ask(kit, command, **request_)
    assert sentence in str(refused.value)
