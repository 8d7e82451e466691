"""Schedules, as an operator sees them: what is due, what became of it, pausing, and making up for what did not run."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, select

from app import PARTS
from chalicelib.core.clock import to_ms
from chalicelib.core.context import Context
from chalicelib.core.errors import InvalidRequestError, PermanentError, RunFailedError
from chalicelib.core.outcome import Counts
from chalicelib.operate import operate
from chalicelib.runs import execution
from chalicelib.runs.claims import Run
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import jobs, pauses
from chalicelib.schema import runs as runs_table
from chalicelib.tasks import record_activity
from nightshift.local.invocation import scheduled_event
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import Kit

NOW = datetime(2026, 3, 27, 12, 0, tzinfo=UTC)
PLANNED = {
    "record_activity": Schedule("5 0 * * *"),
    "daily_digest": Schedule("0 8 * * * Europe/Berlin"),
    "external_sync": Schedule("every 15 minutes"),
}


@pytest.fixture
def kit(database_url: str) -> Kit:
    return Kit(database_url, clock=FrozenClock(NOW))


def ask(kit: Kit, command: str, **request: Any) -> dict[str, Any]:
    asked = json.loads(json.dumps({"command": f"schedule.{command}", **request}))
    answer: dict[str, Any] = json.loads(json.dumps(operate(asked, kit.context(), PLANNED, PARTS)))
    return answer


def refusal(kit: Kit, command: str, **request: Any) -> str:
    with pytest.raises(InvalidRequestError) as refused:
        ask(kit, command, **request)
    return str(refused.value)


def listed(kit: Kit, task: str, **request: Any) -> dict[str, Any]:
    found = {each["task"]: each for each in ask(kit, "list", **request)["tasks"]}
    assert list(found) == list(PLANNED)
    one: dict[str, Any] = found[task]
    return one


def execute(kit: Kit, statement: Any) -> Any:
    def work(connection: Any) -> Any:
        result = connection.execute(statement)
        return result.all() if result.returns_rows else None

    return kit.context().database.transact(work)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def history(kit: Kit) -> dict[str, str]:
    rows = execute(kit, select(runs_table).where(runs_table.c.task == "record_activity"))
    return {f"{datetime.fromtimestamp(row.scheduled_for / 1000, UTC):%m-%dT%H:%M}": row.status for row in rows}


def run_for(kit: Kit, moment: str) -> None:
    execution.execute("record_activity", event=scheduled_event(utc(moment)), context=kit.context())


def test_the_list_tells_each_schedule_in_words_and_its_next_fires_by_both_clocks(kit: Kit) -> None:
    told = listed(kit, "daily_digest")
    assert (told["cron"], told["zone"], told["words"]) == ("0 8 * * *", "Europe/Berlin", "At 08:00 every day")
    assert told["next"] == [
        {"at": "2026-03-28T07:00:00Z", "local": "2026-03-28T08:00:00+01:00"},
        {"at": "2026-03-29T06:00:00Z", "local": "2026-03-29T08:00:00+02:00"},
        {"at": "2026-03-30T06:00:00Z", "local": "2026-03-30T08:00:00+02:00"},
    ]
    assert (told["paused"], told["latest"]) == (None, None)
    assert len(listed(kit, "daily_digest", count=20)["next"]) == 20
    assert listed(kit, "daily_digest", count=0)["next"] == []


def test_of_an_interval_nobody_knows_the_moments(kit: Kit) -> None:
    told = listed(kit, "external_sync")
    assert (told["schedule"], told["words"]) == ("every 15 minutes", "Every 15 minutes")
    assert (told["cron"], told["zone"], told["next"]) == (None, None, [])


def test_the_latest_fire_is_told_with_what_became_of_it_whichever_was_run_last(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_for(kit, "2026-03-26T00:05")

    def fail(context: Context, run: Run) -> Counts:
        raise PermanentError("jane.doe@mail.example.org is unknown")

    with monkeypatch.context() as broken:
        failing = replace(record_activity.record_activity, perform=fail)
        broken.setattr(record_activity, "record_activity", failing)
        with pytest.raises(RunFailedError):
            run_for(kit, "2026-03-27T00:05")
    run_for(kit, "2026-03-25T00:05")
    latest = listed(kit, "record_activity")["latest"]
    assert (latest["scheduled_for"], latest["status"]) == ("2026-03-27T00:05:00Z", "dead")
    assert latest["error"] == "j***@mail.example.org is unknown"
    assert listed(kit, "daily_digest")["latest"] is None


def test_a_paused_task_says_so_with_its_reason_until_it_is_resumed(kit: Kit) -> None:
    assert ask(kit, "pause", task="daily_digest", reason="SES is down") == {"paused": "daily_digest"}
    told = listed(kit, "daily_digest")["paused"]
    assert told == {"reason": "SES is down", "at": "2026-03-27T12:00:00Z"}
    assert listed(kit, "record_activity")["paused"] is None
    assert ask(kit, "resume", task="daily_digest") == {"resumed": "daily_digest", "paused": {}}
    assert listed(kit, "daily_digest")["paused"] is None
    assert ask(kit, "resume", task="daily_digest") == {"resumed": None, "paused": {}}


def test_pausing_again_gives_the_new_reason_and_its_time(kit: Kit) -> None:
    ask(kit, "pause", task="daily_digest", reason="SES is down")
    kit.clock.advance(60)
    ask(kit, "pause", task="daily_digest", reason="SES is slow")
    (row,) = execute(kit, select(pauses))
    assert (row.kind, row.name, row.reason) == ("task", "daily_digest", "SES is slow")
    assert row.paused_at == to_ms(NOW) + 60_000


def test_a_pause_of_every_task_and_one_of_a_task_are_two(kit: Kit) -> None:
    ask(kit, "pause", task="*", reason="moving house")
    ask(kit, "pause", task="daily_digest", reason="SES is down")
    assert listed(kit, "record_activity")["paused"]["reason"] == "moving house"
    assert listed(kit, "daily_digest")["paused"]["reason"] == "SES is down"
    assert ask(kit, "resume", task="daily_digest")["paused"] == {"*": "moving house"}
    assert listed(kit, "daily_digest")["paused"]["reason"] == "moving house"
    ask(kit, "pause", task="daily_digest", reason="SES is down")
    assert ask(kit, "resume", task="*") == {"resumed": "*", "paused": {"daily_digest": "SES is down"}}


def test_a_pause_of_jobs_with_a_tasks_name_is_none_of_the_task(kit: Kit) -> None:
    row = {"kind": "job", "name": "daily_digest", "reason": "x", "paused_at": 0}
    execute(kit, insert(pauses).values(row))
    assert listed(kit, "daily_digest")["paused"] is None
    assert ask(kit, "resume", task="daily_digest") == {"resumed": None, "paused": {}}
    assert len(execute(kit, select(pauses))) == 1


def test_the_pause_of_a_task_that_is_no_more_can_be_lifted(kit: Kit) -> None:
    execute(kit, insert(pauses).values(kind="task", name="weekly_digest", reason="x", paused_at=0))
    assert ask(kit, "resume", task="weekly_digest")["resumed"] == "weekly_digest"


@pytest.mark.parametrize(
    ("command", "request_", "sentence"),
    [
        ("pause", {"task": "daily_digets", "reason": "x"}, "'daily_digets'; did you mean daily_digest?"),
        ("pause", {"task": "x", "reason": "x"}, "there are record_activity, daily_digest, external_sync"),
        ("pause", {"task": "daily_digest", "reason": ""}, "Expected `str` of length >= 1 - at `$.reason`"),
        ("pause", {"task": "daily_digest"}, "missing required field `reason`"),
        ("resume", {"task": "daily_digets"}, "did you mean daily_digest?"),
        ("list", {"count": 101}, "Expected `int` <= 100"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_paused(
    kit: Kit, command: str, request_: Mapping[str, Any], sentence: str
) -> None:
    assert sentence in refusal(kit, command, **request_)
    assert execute(kit, select(pauses)) == []


WEEK = {"task": "record_activity", "first": "2026-03-20T00:00:00Z", "last": "2026-03-26T23:59:59Z"}


def test_a_backfill_runs_each_fire_of_the_period_that_has_no_run_or_a_missed_one(kit: Kit) -> None:
    run_for(kit, "2026-03-21T00:05")
    for day, status in ((22, "missed"), (23, "dead")):
        execute(kit, insert(runs_table).values(row(f"2026-03-{day}T00:05", status)))
    answer = ask(kit, "backfill", **WEEK)
    days = (20, 22, 24, 25, 26)
    assert answer == {"task": "record_activity", "enqueued": [f"2026-03-{day}T00:05:00Z" for day in days]}
    kit.settle()
    done = {f"03-{day}T00:05": "succeeded" for day in (*days, 21)} | {"03-23T00:05": "dead"}
    assert history(kit) == done
    triggers = execute(
        kit, select(runs_table.c.trigger).where(runs_table.c.scheduled_for == to_ms(utc("2026-03-24T00:05")))
    )
    assert [each.trigger for each in triggers] == ["backfill"]


def row(moment: str, status: str) -> dict[str, Any]:
    fixed = {"task": "record_activity", "trigger": "schedule", "attempt": 1, "failures": 0, "lease_until": 0}
    own = {"id": moment, "scheduled_for": to_ms(utc(moment)), "status": status, "request_id": "r", "started_at": 0}
    return fixed | own


def test_both_ends_of_the_period_belong_to_it(kit: Kit) -> None:
    ends = {"first": "2026-03-20T00:05:00Z", "last": "2026-03-22T01:05:00+01:00"}
    fires = ask(kit, "backfill", task="record_activity", **ends, dry_run=True)["missing"]
    assert fires == [f"2026-03-{day}T00:05:00Z" for day in (20, 21, 22)]


def test_a_rehearsed_backfill_tells_the_same_and_enqueues_nothing(kit: Kit) -> None:
    missing = ask(kit, "backfill", **WEEK, dry_run=True)["missing"]
    assert execute(kit, select(jobs)) == []
    assert ask(kit, "backfill", **WEEK)["enqueued"] == missing


def test_a_backfill_that_is_repeated_asks_for_each_run_once(kit: Kit) -> None:
    for _ in range(2):
        ask(kit, "backfill", **WEEK)
    assert len(execute(kit, select(jobs))) == 7


def test_what_is_not_due_yet_is_not_made_up_for(kit: Kit) -> None:
    request = {"task": "record_activity", "first": "2026-03-26T12:00:00Z", "last": "2027-01-01T00:00:00Z"}
    assert ask(kit, "backfill", **request)["enqueued"] == ["2026-03-27T00:05:00Z"]


def test_a_backfill_runs_a_task_that_is_paused(kit: Kit) -> None:
    ask(kit, "pause", task="record_activity", reason="x")
    ask(kit, "backfill", **WEEK)
    kit.settle()
    assert set(history(kit).values()) == {"succeeded"}


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        ({"first": "2024-01-01T00:00:00Z"}, "more than 400 fires of record_activity; backfill fewer"),
        ({"first": "1970-01-01T00:00:00Z"}, "more than 400 fires"),
        ({"first": "2026-03-27T00:00:00Z"}, "the first moment must be before the last"),
        ({"first": "2027-03-27T00:00:00Z", "last": "2028-03-27T00:00:00Z"}, "and before now"),
        ({"first": "2026-03-20T00:00:00"}, "both moments need a time zone"),
        ({"last": "yesterday"}, "Invalid RFC3339 encoded datetime - at `$.last`"),
        ({"task": "external_sync"}, "external_sync runs at an interval"),
        ({"task": "*"}, "there is no task '*'"),
        ({"task": "record_activty"}, "did you mean record_activity?"),
    ],
)
def test_a_backfill_that_makes_no_sense_is_refused_and_enqueues_nothing(
    kit: Kit, request_: Mapping[str, Any], sentence: str
) -> None:
    assert sentence in refusal(kit, "backfill", **{**WEEK, **request_})
    assert execute(kit, select(jobs)) == []


def test_a_year_of_minutes_is_refused_before_it_is_counted(kit: Kit) -> None:
    request = {"command": "schedule.backfill", **WEEK, "first": "1970-01-01T00:00:00Z"}
    fires: list[datetime] = []

    class Counted(Schedule):
        def after(self, moment: datetime) -> Any:
            for fire in super().after(moment):
                fires.append(fire)
                yield fire

    planned = {"record_activity": Counted("* * * * *")}
    fires.clear()
    with pytest.raises(InvalidRequestError, match="more than 400"):
        operate(request, kit.context(), planned, PARTS)
    assert len(fires) == 401
