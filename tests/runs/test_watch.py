"""The watch: every fire that is due has its run, is made up for or is recorded as missed, and each is decided once."""

import json
import signal
import subprocess
from collections.abc import Callable
from datetime import datetime
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from app import PARTS
from chalicelib.core.clock import SystemClock, from_ms, iso, to_ms
from chalicelib.core.errors import RunFailedError, TransientError
from chalicelib.operate.watch import watch
from chalicelib.runs import catch_up
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import backups, jobs, schedules
from chalicelib.schema import runs as runs_table
from nightshift.testkit.kit import Killed
from tests import forked
from tests.runs import dying
from tests.runs.plan import DAY, MINUTE, NAME, PREFIX, START, Plan, die, fail, run_out_of_time, utc
from tests.world import World

Log = Callable[[], list[dict[str, Any]]]
MakePlan = Callable[..., Plan]
# Of four fires on end, which of them a policy makes up for.
POLICIES = {
    ("skip", 1): [],
    ("latest", 1): ["05 08:00"],
    ("all", 2): ["04 08:00", "05 08:00"],
    ("all", 9): ["02 08:00", "03 08:00", "04 08:00", "05 08:00"],
}
by_policy = pytest.mark.parametrize(("policy", "limit"), POLICIES)


@pytest.fixture
def make_plan(database_url: str, monkeypatch: pytest.MonkeyPatch) -> MakePlan:
    return lambda text="0 8 * * *", **policy: Plan(database_url, monkeypatch, text, **policy)


def counts(summary: dict[str, Any]) -> tuple[int, int, int]:
    """Return how many were made up for or taken up, held back by a pause, and missed or given up."""
    return summary["succeeded"], summary["skipped"], summary["failed"]


def counted(lines: list[dict[str, Any]]) -> float:
    """Return how many missed fires the metric has counted."""
    return sum(sum(line["fires_missed"]) for line in lines if "fires_missed" in line)


def told(lines: list[dict[str, Any]], message: str) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("message") == message]


def check_made_up_for(plan: Plan, policy: str, limit: int) -> None:
    made_up_for = POLICIES[policy, limit]
    plan.settle()
    became = plan.became()
    assert set(became) == {"02 08:00", "03 08:00", "04 08:00", "05 08:00"}
    assert {moment for moment, status in became.items() if status == "succeeded"} == {*made_up_for}
    assert set(became.values()) <= {"succeeded", "missed"}
    assert sorted(f"{run.scheduled_for:%d %H:%M}" for run in plan.performed) == made_up_for
    assert {run.trigger for run in plan.performed} <= {"catch_up"}


def test_a_fire_that_came_is_no_business_of_the_watch(make_plan: MakePlan, log: Log) -> None:
    plan = make_plan(catch_up="all", catch_up_limit=9)
    plan.fire(utc("02 08:00"))
    assert counts(plan.watch(utc("02 09:00"))) == (0, 0, 0)
    assert (plan.became(), counted(log())) == ({"02 08:00": "succeeded"}, 0)


@by_policy
def test_of_fires_that_never_came_those_are_made_up_for_that_the_policy_says(
    make_plan: MakePlan, log: Log, policy: str, limit: int
) -> None:
    plan = make_plan(catch_up=policy, catch_up_limit=limit)
    made_up_for = len(POLICIES[policy, limit])
    assert counts(plan.watch(utc("05 10:00"))) == (made_up_for, 0, 4 - made_up_for)
    assert {row.error for row in plan.rows()} == {"its fire did not come within 15 minutes"}
    lines = log()
    assert counted(lines) == 4
    missed = told(lines, "fires missed")
    assert [(line["task"], line["fires"]) for line in missed] == ([(NAME, 4 - made_up_for)] if made_up_for < 4 else [])
    check_made_up_for(plan, policy, limit)


@by_policy
def test_of_fires_that_came_in_a_pause_those_are_made_up_for_that_the_policy_says_and_nothing_alarms(
    make_plan: MakePlan, log: Log, policy: str, limit: int
) -> None:
    plan = make_plan(catch_up=policy, catch_up_limit=limit)
    plan.pause()
    for day in range(4):
        summary = plan.fire(utc("02 08:00") + day * DAY)
        assert (summary["outcome"], summary["reason"]) == ("skipped", f"{NAME} is paused: moving house")
        assert counts(plan.watch(utc("02 09:00") + day * DAY)) == (0, 0, 0)
    assert {(row.status, row.error) for row in plan.rows()} == {("missed", f"{NAME} is paused: moving house")}
    plan.resume()
    made_up_for = len(POLICIES[policy, limit])
    assert counts(plan.watch()) == (made_up_for, 4 - made_up_for, 0)
    lines = log()
    assert (counted(lines), [line for line in lines if line.get("level") == "ERROR"]) == (0, [])
    check_made_up_for(plan, policy, limit)


def test_a_pause_of_every_task_holds_back_as_well(make_plan: MakePlan) -> None:
    plan = make_plan(catch_up="latest")
    plan.pause("*")
    assert plan.fire(utc("02 08:00"))["reason"] == "every task is paused: moving house"
    assert counts(plan.watch(utc("02 09:00"))) == (0, 0, 0)
    plan.resume("*")
    assert counts(plan.watch()) == (1, 0, 0)


def test_a_pause_that_is_lifted_soon_after_a_fire_leaves_that_one_the_latest(make_plan: MakePlan) -> None:
    plan = make_plan(catch_up="latest")
    plan.pause()
    plan.fire(utc("02 08:00"))
    plan.fire(utc("03 08:00"))
    plan.at(utc("03 08:05"))
    plan.resume()
    assert counts(plan.watch(utc("03 08:10"))) == (0, 0, 0)
    assert counts(plan.watch(utc("03 08:15"))) == (1, 1, 0)
    plan.settle()
    assert plan.became() == {"02 08:00": "missed", "03 08:00": "succeeded"}


def test_a_fire_that_did_not_even_come_in_a_pause_is_missed_and_told(make_plan: MakePlan, log: Log) -> None:
    plan = make_plan()
    plan.pause()
    plan.fire(utc("02 08:00"))
    plan.at(utc("04 07:00"))
    plan.resume()
    assert counts(plan.watch()) == (0, 1, 1)
    assert {row.error for row in plan.rows()} == {
        f"{NAME} is paused: moving house",
        "its fire did not come within 15 minutes",
    }
    assert counted(log()) == 1


def test_a_fire_is_not_missed_before_it_is_late(make_plan: MakePlan) -> None:
    plan = make_plan(catch_up="latest", grace=40 * MINUTE)
    assert counts(plan.watch(utc("02 08:39"))) == (0, 0, 0)
    assert counts(plan.watch(utc("02 08:40"))) == (1, 0, 0)


def test_a_fire_that_a_deployment_lost_is_made_up_for(make_plan: MakePlan) -> None:
    plan = make_plan(catch_up="latest")
    plan.at(utc("02 07:59"))
    plan.deploy("0 8 * * *")
    assert counts(plan.watch(utc("02 08:20"))) == (1, 0, 0)


def test_a_schedule_that_is_new_or_changed_counts_nothing_before_it_was_seen(make_plan: MakePlan) -> None:
    # The first is seen at seven.
    plan = make_plan("0 5,6 * * *", catch_up="all", catch_up_limit=99)
    assert counts(plan.watch(utc("02 08:00"))) == (0, 0, 0)
    plan.deploy("0 6,7,9 * * *")
    assert counts(plan.watch(utc("02 08:00"))) == (0, 0, 0)
    assert counts(plan.watch(utc("02 09:00"))) == (0, 0, 0)
    assert plan.rows() == []
    assert counts(plan.watch(utc("02 09:15"))) == (1, 0, 0)
    # And one that comes back is as good as new.
    plan.deploy("0 5,6 * * *")
    plan.watch(utc("02 09:20"))
    assert counts(plan.watch(utc("03 04:00"))) == (0, 0, 0)
    assert set(plan.became()) == {"02 09:00"}


@pytest.mark.parametrize("after", ["0 9 * * *", "every 15 minutes"])
def test_fires_that_nobody_watched_before_a_schedule_changed_are_those_of_the_old_one(
    make_plan: MakePlan, after: str
) -> None:
    plan = make_plan(catch_up="all", catch_up_limit=9)
    plan.at(utc("04 10:00"))
    plan.deploy(after)
    assert counts(plan.watch())[0] == 3
    assert counts(plan.watch(utc("04 10:05"))) == (0, 0, 0)
    plan.settle()
    assert plan.became() == {f"{day:02} 08:00": "succeeded" for day in (2, 3, 4)}


@pytest.mark.parametrize("text", ["0 8 * * * UTC", "00 08 * * *"])
def test_a_schedule_in_other_words_loses_no_fire(make_plan: MakePlan, text: str) -> None:
    plan = make_plan(catch_up="latest")
    plan.at(utc("02 08:10"))
    plan.deploy(text)
    assert counts(plan.watch()) == (0, 0, 0)
    assert counts(plan.watch(utc("02 08:20"))) == (1, 0, 0)


def test_fires_of_a_new_schedule_are_missed_from_its_deployment_on(make_plan: MakePlan) -> None:
    plan = make_plan("0 8 * * 1", catch_up="all", catch_up_limit=9)
    plan.fire(utc("02 08:00"))
    plan.at(utc("03 10:00"))
    plan.deploy("0 8 * * *")
    assert counts(plan.watch(utc("05 10:00"))) == (2, 0, 0)
    assert set(plan.became()) == {"02 08:00", "04 08:00", "05 08:00"}


def test_fires_of_an_old_schedule_are_not_made_up_for_after_the_new_one_came(make_plan: MakePlan) -> None:
    plan = make_plan(catch_up="latest")
    plan.at(utc("02 07:30"))
    plan.deploy("0 9 * * *")
    plan.fire(utc("02 09:00"))
    assert counts(plan.watch(utc("02 10:00"))) == (0, 0, 0)
    assert plan.became() == {"02 09:00": "succeeded"}


def test_each_schedule_counts_that_was_deployed_while_the_watch_did_not_look(make_plan: MakePlan) -> None:
    plan = make_plan("0 8 * * *", catch_up="all", catch_up_limit=99)
    for moment, text in (("03 07:00", "0 10 * * *"), ("05 07:00", "every 2 hours"), ("06 07:00", "0 9 * * *")):
        plan.at(utc(moment))
        plan.deploy(text)
        plan.dispatch()
    plan.watch(utc("07 12:00"))
    assert list(plan.became()) == ["02 08:00", "03 10:00", "04 10:00", "06 09:00", "07 09:00"]


def test_fires_of_every_schedule_of_a_pause_are_decided_after_it(make_plan: MakePlan) -> None:
    plan = make_plan("0 8 * * *", catch_up="all", catch_up_limit=99)
    plan.pause()
    for moment, text in (("03 07:00", "0 10 * * *"), ("04 07:00", "0 9 * * *")):
        plan.at(utc(moment))
        plan.deploy(text)
        plan.watch()
    plan.at(utc("04 12:00"))
    plan.resume()
    assert counts(plan.watch()) == (3, 0, 0)
    assert list(plan.became()) == ["02 08:00", "03 10:00", "04 09:00"]


def test_a_task_that_was_removed_for_a_while_misses_nothing_meanwhile(make_plan: MakePlan) -> None:
    plan = make_plan(catch_up="all", catch_up_limit=9)
    planned, plan.planned = plan.planned, {}
    plan.watch(utc("02 07:30"))
    plan.at(utc("04 07:00"))
    plan.planned = planned
    plan.deploy("0 8 * * *")
    plan.watch()
    assert plan.rows() == []
    assert counts(plan.watch(utc("04 09:00"))) == (1, 0, 0)


def test_a_function_of_an_older_deployment_does_not_bring_its_schedule_back(make_plan: MakePlan) -> None:
    plan = make_plan("0 8 * * *", catch_up="all", catch_up_limit=9)
    old = plan.planned
    plan.at(utc("02 07:30"))
    plan.deploy("0 9 * * *")
    plan.dispatch()
    plan.kit.awslambda.updated_ms[f"{PREFIX}watch"] = to_ms(START)
    watch(plan.kit.context(function_name=f"{PREFIX}watch"), old, PARTS)
    assert counts(plan.watch(utc("02 09:20"))) == (1, 0, 0)
    assert set(plan.became()) == {"02 09:00"}


@pytest.mark.parametrize("minutes", [-10, 2])
def test_a_schedule_counts_from_when_its_task_was_replaced_or_when_another_function_was_first(
    make_plan: MakePlan, minutes: int
) -> None:
    plan = make_plan("0 8 * * *", catch_up="all", catch_up_limit=9)
    plan.at(utc("02 08:05"))
    plan.deploy("1 8 * * *")
    plan.kit.awslambda.updated_ms[f"{PREFIX}{NAME}"] += to_ms(from_ms(0) + minutes * MINUTE)
    plan.watch(utc("02 08:30"))
    assert set(plan.became()) == {"02 08:01" if minutes < 0 else "02 08:00"}


def test_a_schedule_counts_from_when_dispatch_first_saw_it_where_aws_does_not_say(make_plan: MakePlan) -> None:
    plan = make_plan("0 8 * * 1", catch_up="all", catch_up_limit=9)
    plan.fire(utc("02 08:00"))
    plan.kit.awslambda.updated_ms.clear()
    plan.planned = {NAME: Schedule("0 8 * * *")}
    plan.dispatch()
    assert counts(plan.watch(utc("05 10:00"))) == (3, 0, 0)


def test_a_schedule_that_changes_in_a_pause_leaves_the_fires_before_to_be_made_up_for(make_plan: MakePlan) -> None:
    plan = make_plan(catch_up="all", catch_up_limit=9)
    plan.pause()
    plan.fire(utc("02 08:00"))
    assert counts(plan.watch(utc("02 08:30"))) == (0, 0, 0)
    # That of the third does not even come.
    plan.at(utc("03 10:00"))
    plan.deploy("0 9 * * *")
    assert counts(plan.watch()) == (0, 0, 0)
    plan.fire(utc("04 09:00"))
    plan.resume()
    assert counts(plan.watch(utc("04 09:20"))) == (3, 0, 0)
    assert counts(plan.watch(utc("04 09:25"))) == (0, 0, 0)
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded", "03 08:00": "succeeded", "04 09:00": "succeeded"}


def test_an_interval_that_becomes_cron_text_makes_up_for_nothing_of_its_pauses(make_plan: MakePlan) -> None:
    plan = make_plan("every 30 minutes", catch_up="all", catch_up_limit=9)
    plan.pause()
    plan.fire(START + 30 * MINUTE)
    plan.resume()
    plan.deploy("0 9 * * *")
    assert counts(plan.watch(START + 60 * MINUTE)) == (0, 0, 0)
    plan.settle()
    assert plan.became() == {"02 07:30": "missed"}


@pytest.mark.parametrize("is_back", [False, True])
def test_cron_text_that_becomes_an_interval_in_a_pause_has_its_fires_made_up_for_and_the_interval_has_not(
    make_plan: MakePlan, is_back: bool
) -> None:
    plan = make_plan(catch_up="all", catch_up_limit=9)
    plan.pause()
    plan.fire(utc("02 08:00"))
    plan.at(utc("02 08:45"))
    plan.deploy("every 30 minutes")
    assert counts(plan.watch(utc("02 09:00"))) == (0, 0, 0)
    plan.fire(utc("02 09:30"))
    if is_back:
        plan.deploy("0 8 * * *")
        assert counts(plan.watch(utc("02 10:00"))) == (0, 0, 0)
    plan.resume()
    moment = utc("02 10:20") if is_back else utc("02 09:45")
    assert counts(plan.watch(moment)) == (1, 0, 0)
    assert counts(plan.watch(moment + 5 * MINUTE)) == (0, 0, 0)
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded", "02 09:30": "missed"}
    assert {row.error_type for row in plan.rows()} == {None, "held_back"}


def test_a_long_schedule_is_known_again(make_plan: MakePlan) -> None:
    everything = " ".join(",".join(map(str, range(first, last))) for first, last in ((0, 60), (0, 24), (1, 32)))
    plan = make_plan(f"{everything} * * Europe/Berlin", catch_up="latest")
    assert counts(plan.watch(utc("02 07:20"))) == (1, 0, 4)


def test_each_missed_fire_is_decided_and_told_once(make_plan: MakePlan, log: Log) -> None:
    plan = make_plan(catch_up="latest")
    assert counts(plan.watch(utc("03 09:00"))) == (1, 0, 1)
    for minutes in (0, 5, 10):
        assert counts(plan.watch(utc("03 09:00") + minutes * MINUTE)) == (0, 0, 0)
    assert counted(log()) == 2
    assert len(plan.kit.jobs()) == 1


def test_two_watches_at_once_decide_each_missed_fire_once(make_plan: MakePlan, log: Log) -> None:
    plan = make_plan(catch_up="all", catch_up_limit=3)
    plan.at(utc("09 09:00"))
    together, summaries = Barrier(4), []

    def look() -> None:
        together.wait()
        summaries.append(counts(plan.watch()))

    threads = [Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(summaries) == [(0, 0, 0)] * 3 + [(3, 0, 5)]
    assert (len(plan.rows()), len(plan.kit.jobs()), counted(log())) == (8, 3, 8)


def test_a_fire_that_comes_after_it_was_made_up_for_runs_nothing_twice(make_plan: MakePlan) -> None:
    plan = make_plan(catch_up="latest")
    plan.watch(utc("02 09:00"))
    plan.settle()
    assert plan.fire(utc("02 08:00"), at=utc("02 21:00"))["outcome"] == "skipped"
    assert (len(plan.performed), plan.became()) == (1, {"02 08:00": "succeeded"})


def test_a_fire_that_comes_before_what_makes_up_for_it_runs_and_is_not_repeated(make_plan: MakePlan) -> None:
    plan = make_plan(catch_up="latest")
    plan.watch(utc("02 09:00"))
    assert plan.fire(utc("02 08:00"), at=utc("02 09:01"))["outcome"] == "succeeded"
    plan.settle()
    assert [run.trigger for run in plan.performed] == ["schedule"]


def test_a_fire_that_is_missed_for_good_and_comes_after_all_runs(make_plan: MakePlan) -> None:
    plan = make_plan(catch_up="skip")
    plan.watch(utc("02 09:00"))
    assert plan.fire(utc("02 08:00"), at=utc("02 11:00"))["outcome"] == "succeeded"
    (row,) = plan.rows()
    assert (row.status, row.attempt, row.error, row.error_type) == ("succeeded", 1, None, None)
    assert row.started_at == to_ms(utc("02 11:00"))


def test_what_makes_up_for_many_fires_runs_them_one_at_a_time(make_plan: MakePlan) -> None:
    plan = make_plan(catch_up="all", catch_up_limit=3)
    plan.watch(utc("04 09:00"))
    plan.kit.dispatch()
    messages = plan.kit.receive()
    # Another worker takes the next one in the middle of the first.
    plan.meanwhile(lambda: plan.kit.work(messages[1:2]))
    plan.kit.work(messages[:1])
    assert len(plan.performed) == 1
    plan.kit.work(messages[2:])
    plan.settle()
    assert sorted(run.scheduled_for for run in plan.performed) == [utc(f"0{day} 08:00") for day in (2, 3, 4)]


def test_of_very_many_missed_fires_the_latest_get_a_row_each_and_all_are_counted(
    make_plan: MakePlan, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "MOST_RECORDED", 50)
    plan = make_plan("* * * * *", catch_up="latest")
    # Seen at seven, so that the first is due at 07:01.
    assert counts(plan.watch(utc("02 10:15"))) == (1, 0, 179)
    moments = list(plan.became())
    assert (len(moments), moments[0], moments[-1]) == (50, "02 09:11", "02 10:00")
    assert counted(log()) == 180


def run_dying(world: World, nth: str, moment: str) -> "subprocess.CompletedProcess[str]":
    """Have a watch look that is killed around the nth commit of its decisions."""
    arguments = ("watch", "r1", "commit.schedules", nth, moment)
    return forked.run(dying.main, *arguments, environment=world.environment, typed="{}")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_watch_that_is_killed_around_its_decision_leaves_each_fire_decided_once(world: World, moment: str) -> None:
    world.clock.advance((SystemClock().now_ms() - world.clock.now_ms()) / 1000)
    now = from_ms(world.clock.now_ms())
    # As many days ago as a month has, so that the monthly task has missed a fire too.
    seen = {"daily_digest": "0 8 * * *", "monthly_report": "0 9 1 * *", "record_activity": "5 0 * * *"}
    since = now - 32 * DAY
    rows = [{"task": name, "text": text, "checked_until": to_ms(since)} for name, text in seen.items()]
    world.execute(insert(schedules), rows)
    done = run_dying(world, "2", moment)
    assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
    killed_with = len(world.execute(select(jobs)))
    done = run_dying(world, "999", moment)
    assert done.returncode == 0, done.stdout + done.stderr
    made_up_for = [json.loads(job.data) for job in world.execute(select(jobs))]
    assert killed_with < len(made_up_for)
    fires = [(data["task"], data["scheduled_for"]) for data in made_up_for]
    assert len(fires) == len(set(fires))
    by_task = {name: sum(task == name for task, _ in fires) for name in seen}
    assert (by_task["daily_digest"], by_task["record_activity"]) == (1, 31)
    assert by_task["monthly_report"] in {1, 2}
    recorded = world.execute(select(runs_table.c.task, runs_table.c.scheduled_for))
    assert set(fires) <= {(row.task, iso(from_ms(row.scheduled_for))) for row in recorded}


def test_a_task_that_cannot_be_looked_after_keeps_no_other_from_it(
    make_plan: MakePlan, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(catch_up="latest")
    monkeypatch.setattr(plan, "planned", {"nowhere": plan.planned[NAME], **plan.planned})
    with pytest.raises(RunFailedError, match=r"watch failed: it could not check nowhere \(No module named"):
        plan.watch(utc("02 09:00"))
    assert len(plan.kit.jobs()) == 1
    assert len(told(log(), "nowhere not checked")) == 1


def add_backup(plan: Plan) -> None:
    """Have a backup that was verified when all began."""
    moments = dict.fromkeys(("taken_at", "started_at", "finished_at", "verified_at"), to_ms(START))
    row = {"id": "b", "kind": "dump", "status": "finished", **moments}
    plan.kit.context().database.transact(lambda connection: connection.execute(insert(backups).values(row)))


def test_each_look_tells_how_old_the_newest_backup_is(make_plan: MakePlan, log: Log) -> None:
    plan = make_plan()
    add_backup(plan)
    plan.watch(START + 90 * MINUTE)
    assert [line["backup_verified_age"] for line in log() if "backup_verified_age" in line] == [[1.5]]


# What an interval leaves to know.


def test_an_interval_whose_fires_have_ceased_is_told_of_until_they_come_again(make_plan: MakePlan, log: Log) -> None:
    plan = make_plan("every 30 minutes")
    plan.fire(utc("02 07:10"))
    assert counts(plan.watch(utc("02 07:55"))) == (0, 0, 0)
    for at in ("02 07:56", "02 08:01"):
        assert counts(plan.watch(utc(at))) == (0, 0, 1)
    lines = log()
    assert counted(lines) == 2
    assert {line["latest"] for line in told(lines, "fires have stopped")} == {"2026-03-02T07:10:00Z"}
    # A person's run is none of the rule's.
    plan.invoke()
    assert counts(plan.watch()) == (0, 0, 1)
    plan.fire(utc("02 08:05"))
    assert counts(plan.watch()) == (0, 0, 0)


def test_an_interval_that_is_new_or_changed_has_not_ceased(make_plan: MakePlan) -> None:
    plan = make_plan("every 30 minutes")
    assert counts(plan.watch(START + 45 * MINUTE)) == (0, 0, 0)
    plan.deploy("every 40 minutes")
    assert counts(plan.watch(START + 90 * MINUTE)) == (0, 0, 0)
    assert counts(plan.watch(START + 100 * MINUTE)) == (0, 0, 0)
    assert counts(plan.watch(START + 101 * MINUTE)) == (0, 0, 1)


def test_an_interval_in_a_pause_and_right_after_it_has_not_ceased(make_plan: MakePlan, log: Log) -> None:
    plan = make_plan("every 30 minutes")
    plan.pause()
    for n in range(1, 6):
        assert plan.fire(START + 30 * n * MINUTE)["outcome"] == "skipped"
        assert counts(plan.watch()) == (0, 0, 0)
    plan.at(START + 179 * MINUTE)
    plan.resume()
    assert counts(plan.watch()) == (0, 0, 0)
    assert plan.fire(START + 180 * MINUTE)["outcome"] == "succeeded"
    assert counted(log()) == 0
    assert list(plan.became().values()) == ["missed"] * 5 + ["succeeded"]


# Runs that nobody goes on with.


def die_in_the_middle(plan: Plan, moment: datetime, **payload: Any) -> None:
    """Have a run begin whose process is killed, and which nobody repeats."""
    plan.at(moment)
    plan.meanwhile(die)
    with pytest.raises(Killed):
        plan.invoke(**payload) if payload else plan.fire(moment)


def test_a_run_whose_process_ended_is_taken_up_once_with_its_options(make_plan: MakePlan) -> None:
    plan = make_plan()
    die_in_the_middle(plan, utc("02 08:00"), colour="green")
    # Its lease ends at 08:06, and whoever has it may be on the way until 08:21.
    assert counts(plan.watch(utc("02 08:21"))) == (0, 0, 0)
    assert counts(plan.watch(utc("02 08:22"))) == (1, 0, 0)
    assert counts(plan.watch(utc("02 08:30"))) == (0, 0, 0)
    plan.settle()
    assert [(run.attempt, dict(run.options), run.trigger) for run in plan.performed] == [
        (attempt, {"colour": "green"}, "manual") for attempt in (1, 2)
    ]
    assert plan.became() == {"02 08:00": "succeeded"}


def test_a_run_is_taken_up_with_what_it_was_asked_for_last(make_plan: MakePlan) -> None:
    plan = make_plan(max_attempts=1)
    plan.at(utc("02 08:00"))
    plan.meanwhile(fail)
    with pytest.raises(RunFailedError):
        plan.invoke(colour="red")
    die_in_the_middle(plan, utc("02 08:01"), scheduled_for="2026-03-02T08:00:00Z", colour="blue")
    plan.watch(utc("02 09:00"))
    plan.settle()
    assert [run.options["colour"] for run in plan.performed] == ["red", "blue", "blue"]


def test_a_run_whose_continuation_is_killed_too_is_taken_up_again(make_plan: MakePlan) -> None:
    plan = make_plan()
    die_in_the_middle(plan, utc("02 08:00"))
    plan.watch(utc("02 08:30"))
    plan.meanwhile(die)
    plan.kit.dispatch()
    plan.kit.drain()
    # Its job's row would lead to the third attempt by itself, were it not lost.
    plan.kit.sqs.queues.clear()
    plan.kit.context().database.transact(lambda connection: connection.execute(update(jobs).values(dispatch_at=None)))
    assert counts(plan.watch(utc("02 09:00"))) == (1, 0, 0)
    plan.settle()
    assert [run.attempt for run in plan.performed] == [1, 2, 3]
    assert plan.became() == {"02 08:00": "succeeded"}


def test_run_whose_continuation_was_lost_is_rescued(make_plan: MakePlan) -> None:
    plan = make_plan()
    plan.meanwhile(run_out_of_time)
    assert plan.fire(utc("02 08:00"))["continues"] is True
    plan.kit.sqs.queues.clear()
    assert counts(plan.watch(utc("02 08:15"))) == (0, 0, 0)
    assert counts(plan.watch(utc("02 08:16"))) == (1, 0, 0)
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded"}


def test_a_run_that_failed_and_that_nobody_repeats_is_taken_up_unless_a_person_was_told(make_plan: MakePlan) -> None:
    plan = make_plan()
    plan.meanwhile(fail)
    with pytest.raises(RunFailedError):
        plan.fire(utc("02 08:00"))
    plan.meanwhile(fail)
    with pytest.raises(RunFailedError):
        plan.invoke(scheduled_for="2026-03-02T07:30:00Z")
    assert counts(plan.watch(utc("02 08:15"))) == (0, 0, 0)
    assert counts(plan.watch(utc("02 08:16"))) == (1, 0, 0)
    plan.settle()
    assert plan.became() == {"02 07:30": "failed", "02 08:00": "succeeded"}


def test_a_run_that_is_not_over_after_a_day_is_given_up_and_alarms(make_plan: MakePlan, log: Log) -> None:
    plan = make_plan()
    die_in_the_middle(plan, utc("02 08:00"))
    plan.watch(utc("02 09:00"))
    plan.kit.sqs.queues.clear()
    assert counts(plan.watch(utc("03 08:00"))) == (0, 0, 0)
    log()
    assert counts(plan.watch(utc("03 08:01"))) == (0, 0, 1)
    reason = "it was not over a day after it began: each time, its process ended"
    lines = log()
    (line,) = told(lines, "run dead")
    assert (line["task"], line["run_id"], line["error"]) == (NAME, plan.rows()[0].id, reason)
    assert (line["scheduled_for"], line["trigger"]) == ("2026-03-02T08:00:00Z", "schedule")
    assert [line["task"] for line in lines if "run_dead" in line and line["run_dead"] == [1.0]] == [NAME]
    (row,) = (row for row in plan.rows() if row.scheduled_for == to_ms(utc("02 08:00")))
    assert (row.status, row.error) == ("dead", reason)
    assert counts(plan.watch(utc("03 08:02"))) == (0, 0, 0)


def test_a_run_that_lapsed_while_nobody_watched_is_taken_up_before_it_is_given_up(make_plan: MakePlan) -> None:
    plan = make_plan()
    die_in_the_middle(plan, utc("02 08:00"))
    # The next day's fire did not come.
    assert counts(plan.watch(utc("03 09:00"))) == (1, 0, 1)
    assert counts(plan.watch(utc("03 09:05"))) == (0, 0, 1)
    assert plan.became()["02 08:00"] == "dead"


def test_a_run_that_lapsed_while_nobody_watched_may_end_well(make_plan: MakePlan) -> None:
    plan = make_plan()
    die_in_the_middle(plan, utc("02 08:00"))
    plan.watch(utc("03 07:59"))
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded"}


def test_a_dead_run_that_is_asked_for_again_has_all_its_attempts_and_a_day_for_them(make_plan: MakePlan) -> None:
    plan = make_plan("0 8 * * 1", max_attempts=2)
    for minutes in (0, 1):
        plan.meanwhile(fail)
        with pytest.raises(RunFailedError):
            plan.fire(utc("02 08:00"), at=utc("02 08:00") + minutes * MINUTE, request_id="r1")
    assert plan.became() == {"02 08:00": "dead"}
    plan.at(utc("05 08:00"))
    plan.meanwhile(fail)
    with pytest.raises(RunFailedError):
        plan.invoke(scheduled_for="2026-03-02T08:00:00Z")
    assert plan.became() == {"02 08:00": "failed"}
    die_in_the_middle(plan, utc("05 08:01"), scheduled_for="2026-03-02T08:00:00Z")
    assert counts(plan.watch(utc("05 08:30"))) == (1, 0, 0)
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded"}
    assert [run.failures for run in plan.performed] == [0, 1, 0, 1, 1]


def test_run_outlives_an_outage_that_is_longer_than_the_repetitions_of_lambda(make_plan: MakePlan) -> None:
    def away() -> None:
        raise TransientError("S3 does not answer")

    plan = make_plan(max_attempts=3)
    for minutes in (0, 1, 3):
        plan.meanwhile(away)
        with pytest.raises(RunFailedError):
            plan.fire(utc("02 08:00"), at=utc("02 08:00") + minutes * MINUTE, request_id="r1")
    assert plan.became() == {"02 08:00": "failed"}
    assert counts(plan.watch(utc("02 08:20"))) == (1, 0, 0)
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded"}
    assert [run.failures for run in plan.performed] == [0, 1, 2, 3]


def test_a_run_that_is_at_work_is_left_alone(make_plan: MakePlan) -> None:
    plan = make_plan()
    summaries: list[Any] = []
    plan.meanwhile(lambda: summaries.append(plan.watch(utc("02 08:20"))))
    plan.fire(utc("02 08:00"))
    assert [counts(summary) for summary in summaries] == [(0, 0, 0)]


@pytest.mark.parametrize("name", ["runs", "backups"])
def test_a_task_takes_no_look_away_whatever_its_name(
    make_plan: MakePlan, log: Log, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    plan = make_plan()
    add_backup(plan)
    die_in_the_middle(plan, utc("02 08:00"))
    monkeypatch.setattr(plan, "planned", {**plan.planned, name: plan.planned[NAME]})
    # There is no such task here, so its check fails.
    with pytest.raises(RunFailedError, match=rf"could not check {name} \(No module named"):
        plan.watch(utc("02 09:00"))
    lines = log()
    assert len(told(lines, "run rescued")) == 1
    assert any("backup_verified_age" in line for line in lines)
