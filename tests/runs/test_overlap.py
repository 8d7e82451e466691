"""One run of a task at a time, and none in a pause: what becomes of a fire that may not run when it comes."""

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, text

from chalicelib.core.attempt import Attempt, attempt
from chalicelib.core.context import Context
from chalicelib.core.errors import AlreadyClaimed, RunFailedError
from chalicelib.core.outcome import Counts
from chalicelib.operate import schedules
from chalicelib.runs import claims
from chalicelib.runs.claims import Run
from nightshift.testkit.kit import Killed
from tests.queue.samples import listening
from tests.runs.plan import DONE, MINUTE, NAME, Plan, die, fail, run_out_of_time, utc
from tests.servers import on_a_server

MakePlan = Callable[..., Plan]
EIGHT, NINE = utc("02 08:00"), utc("02 09:00")
NOT_OVER = "of 2026-03-02T08:00:00Z is not over"


@pytest.fixture
def make_plan(database_url: str, monkeypatch: pytest.MonkeyPatch) -> MakePlan:
    return lambda overlap, text="0 * * * *", **policy: Plan(database_url, monkeypatch, text, overlap=overlap, **policy)


def beside_another(plan: Plan, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Do something in the middle of a run, and return what that came to."""
    summaries: list[dict[str, Any]] = []
    plan.meanwhile(lambda: summaries.append(act()))
    assert plan.fire(EIGHT)["outcome"] == "succeeded"
    return summaries[0]


def test_a_fire_beside_another_run_is_missed_where_the_task_skips(make_plan: MakePlan) -> None:
    plan = make_plan("skip", catch_up="all", catch_up_limit=9)
    summary = beside_another(plan, lambda: plan.fire(NINE))
    assert (summary["outcome"], NOT_OVER in summary["reason"]) == ("skipped", True)
    (_, row) = plan.rows()
    assert (row.status, row.error_type, row.error, row.attempt) == ("missed", "overlap", summary["reason"], 0)
    # It came, so nobody makes up for it.
    assert plan.watch(NINE + 20 * MINUTE)["total"] == 0
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded", "02 09:00": "missed"}


def test_a_fire_beside_another_run_waits_where_the_task_queues(make_plan: MakePlan) -> None:
    plan = make_plan("queue", catch_up="all", catch_up_limit=9)
    summary = beside_another(plan, lambda: plan.fire(NINE))
    assert summary["outcome"] == "skipped"
    assert summary["reason"].endswith(f"{NOT_OVER}, and this one waits for it")
    assert plan.became() == {"02 08:00": "succeeded", "02 09:00": "missed"}
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded", "02 09:00": "succeeded"}
    assert [run.trigger for run in plan.performed] == ["schedule", "schedule"]


def test_a_fire_that_waits_for_longer_than_its_grace_is_not_missed(make_plan: MakePlan) -> None:
    plan = make_plan("queue", "0,2 8 * * *", catch_up="all", grace=MINUTE)

    def wait() -> dict[str, Any]:
        plan.fire(EIGHT + 2 * MINUTE)
        for minutes in (3, 4):
            plan.at(EIGHT + minutes * MINUTE)
            plan.kit.dispatch()
            plan.kit.drain()
        return plan.watch()

    assert beside_another(plan, wait)["total"] == 0
    plan.settle()
    assert [run.scheduled_for for run in plan.performed] == [EIGHT, EIGHT + 2 * MINUTE]


def test_what_a_person_asks_for_beside_another_run_is_refused_and_leaves_no_trace(make_plan: MakePlan) -> None:
    plan = make_plan("skip")
    summary = beside_another(plan, lambda: plan.invoke(scheduled_for="2026-03-02T07:30:00Z"))
    assert (summary["outcome"], NOT_OVER in summary["reason"]) == ("skipped", True)
    assert (plan.became(), plan.kit.jobs()) == ({"02 08:00": "succeeded"}, [])
    assert plan.invoke(scheduled_for="2026-03-02T07:30:00Z")["outcome"] == "succeeded"


def test_what_a_person_asks_for_beside_another_run_waits_where_the_task_queues(make_plan: MakePlan) -> None:
    plan = make_plan("queue")
    beside_another(plan, lambda: plan.invoke(scheduled_for="2026-03-02T07:30:00Z", colour="green"))
    plan.settle()
    assert plan.became() == {"02 07:30": "succeeded", "02 08:00": "succeeded"}
    assert [(run.trigger, dict(run.options)) for run in plan.performed[1:]] == [("manual", {"colour": "green"})]


def test_dry_run_out_of_time_is_not_continued(make_plan: MakePlan) -> None:
    plan = make_plan("skip")
    plan.meanwhile(run_out_of_time)
    with pytest.raises(RunFailedError, match="a dry run is not continued, and its time is up: the deadline is near"):
        plan.invoke(dry_run=True)
    plan.settle()
    assert ([run.dry_run for run in plan.performed], plan.rows(), plan.kit.jobs()) == ([True], [], [])


def test_a_dry_run_stands_in_nobodys_way_and_nobody_in_its_own(make_plan: MakePlan) -> None:
    plan = make_plan("skip")
    assert beside_another(plan, lambda: plan.invoke(dry_run=True))["outcome"] == "succeeded"
    plan.meanwhile(lambda: plan.fire(NINE))
    plan.invoke(dry_run=True)
    assert plan.became() == {"02 08:00": "succeeded", "02 09:00": "succeeded"}


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_what_makes_up_for_a_fire_waits_for_a_run_that_is_not_over(make_plan: MakePlan, overlap: str) -> None:
    plan = make_plan(overlap, "0,2 8 * * *", catch_up="latest", grace=MINUTE)

    def catch_up() -> dict[str, Any]:
        summary = plan.watch(EIGHT + 3 * MINUTE)
        plan.kit.dispatch()
        plan.kit.drain()
        return summary

    assert beside_another(plan, catch_up)["succeeded"] == 1
    assert len(plan.performed) == 1
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded", "02 08:02": "succeeded"}


def test_the_repetition_of_a_run_that_failed_waits_for_another_whatever_the_task_does(make_plan: MakePlan) -> None:
    plan = make_plan("skip")

    plan.meanwhile(fail)
    with pytest.raises(RunFailedError):
        plan.fire(EIGHT, request_id="r1")
    summaries: list[dict[str, Any]] = []
    plan.meanwhile(lambda: summaries.append(plan.fire(EIGHT, at=NINE, request_id="r1")))
    plan.fire(NINE)
    assert summaries[0]["outcome"] == "skipped"
    assert plan.became() == {"02 08:00": "failed", "02 09:00": "succeeded"}
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded", "02 09:00": "succeeded"}


def test_run_awaiting_continuation_blocks_others_for_an_hour(make_plan: MakePlan) -> None:
    plan = make_plan("skip")

    plan.meanwhile(run_out_of_time)
    assert plan.fire(EIGHT)["continues"] is True
    plan.at(EIGHT + 59 * MINUTE)
    assert NOT_OVER in plan.invoke()["reason"]
    assert plan.fire(NINE)["outcome"] == "succeeded"


def test_abandoned_run_continues_alongside_a_later_one(make_plan: MakePlan) -> None:
    plan = make_plan("skip")

    plan.meanwhile(run_out_of_time)
    plan.fire(EIGHT)
    plan.meanwhile(plan.kit.drain)
    plan.fire(NINE)
    assert plan.became() == {"02 08:00": "succeeded", "02 09:00": "succeeded"}
    assert plan.kit.jobs()[0].status == "completed"


def test_a_killed_run_is_in_the_way_of_others_and_not_of_its_own_repetition(make_plan: MakePlan) -> None:
    plan = make_plan("skip")

    plan.meanwhile(die)
    with pytest.raises(Killed):
        plan.fire(EIGHT, request_id="r1")
    plan.at(EIGHT + MINUTE)
    assert NOT_OVER in plan.invoke()["reason"]
    assert plan.fire(EIGHT, at=EIGHT + MINUTE, request_id="r1")["outcome"] == "succeeded"
    assert plan.invoke()["outcome"] == "succeeded"


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_of_fires_at_once_one_runs_and_the_others_give_way(make_plan: MakePlan, overlap: str) -> None:
    plan = make_plan(overlap)
    together, outcomes, began = Barrier(4), [], []

    def invoke(minute: int) -> None:
        together.wait()
        outcomes.append(plan.invoke(scheduled_for=f"2026-03-02T06:0{minute}:00Z")["outcome"])

    def perform(_context: Context, run: Run) -> Counts:
        began.append(run)
        # As long as it takes the others to give way; one that does not would come here too, and wait for ever.
        while len(outcomes) + len(began) < 4:
            pass
        return DONE

    plan.perform = perform
    threads = [Thread(target=invoke, args=(minute,)) for minute in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["skipped"] * 3 + ["succeeded"]
    assert len(began) == 1


@on_a_server
def test_a_run_that_ends_while_another_request_takes_it_belongs_to_one_of_the_two(make_plan: MakePlan) -> None:
    plan = make_plan("skip")
    plan.meanwhile(die)
    with pytest.raises(Killed):
        plan.fire(EIGHT)
    # It is at work all the same, and ends just before the row is another's.
    (first,) = plan.performed
    late = plan.kit.context()
    ended = attempt(lambda: DONE, clock=plan.kit.clock, last=False)
    finished: list[Attempt[None]] = []
    ending = Thread(
        target=lambda: finished.append(
            attempt(lambda: claims.finish(late, first, ended), clock=plan.kit.clock, last=False)
        )
    )

    def end_first(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE runs SET") and ending.ident is None:
            ending.start()
            while ending.is_alive() and not is_waiting(rival):
                pass

    engine = late.database.engine
    with engine.connect() as rival, listening(plan.kit, "before_cursor_execute", end_first):
        assert plan.fire(EIGHT, at=NINE)["outcome"] == "succeeded"
    ending.join()
    assert isinstance(finished[0].error, AlreadyClaimed)
    assert (len(plan.performed), plan.rows()[0].attempt) == (2, 2)


def is_waiting(connection: Connection) -> bool:
    """Return whether a transaction of the server waits for a lock."""
    status = connection.execute(text("SHOW ENGINE INNODB STATUS")).one().Status
    return "LOCK WAIT" in status.partition("\nTRANSACTIONS\n")[2]


# Pauses.


def test_what_a_person_asks_for_runs_in_a_pause(make_plan: MakePlan) -> None:
    plan = make_plan("skip")
    plan.pause()
    assert plan.invoke()["outcome"] == "succeeded"


def test_run_begun_before_a_pause_is_retried_and_continued_during_it(make_plan: MakePlan) -> None:
    plan = make_plan("skip")

    def pause_and_fail() -> None:
        plan.pause()
        fail()

    plan.meanwhile(pause_and_fail)
    with pytest.raises(RunFailedError):
        plan.fire(EIGHT, request_id="r1")
    plan.meanwhile(run_out_of_time)
    assert plan.fire(EIGHT, at=EIGHT + MINUTE, request_id="r1")["continues"] is True
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded"}


def test_a_fire_that_comes_twice_in_a_pause_is_held_back_once(make_plan: MakePlan) -> None:
    plan = make_plan("skip")
    plan.pause()
    reasons = [plan.fire(EIGHT)["reason"], plan.fire(EIGHT)["reason"]]
    assert reasons == [f"{NAME} is paused: moving house"] * 2
    (row,) = plan.rows()
    assert (row.status, row.error_type, row.trigger) == ("missed", "paused", "schedule")
    plan.resume()
    assert plan.fire(EIGHT, at=NINE)["outcome"] == "succeeded"


def test_a_fire_that_waits_when_its_task_is_paused_is_made_up_for_after_the_pause(make_plan: MakePlan) -> None:
    plan = make_plan("queue", "0 8,9 * * *", catch_up="latest")

    def fire_and_pause() -> None:
        plan.fire(NINE)
        plan.pause()

    plan.meanwhile(fire_and_pause)
    plan.fire(EIGHT)
    plan.settle()
    assert plan.rows()[1].error == f"{NAME} is paused: moving house"
    plan.at(utc("02 10:00"))
    plan.resume()
    assert plan.watch()["succeeded"] == 1
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded", "02 09:00": "succeeded"}


def test_a_fire_that_has_waited_for_longer_than_its_grace_is_made_up_for_after_a_pause_too(make_plan: MakePlan) -> None:
    plan = make_plan("queue", "0,2 8 * * *", catch_up="latest", grace=MINUTE)

    def fire_and_pause() -> None:
        plan.fire(EIGHT + 2 * MINUTE)
        # By now the watch is done with that moment, whose fire came.
        assert plan.watch(EIGHT + 4 * MINUTE)["total"] == 0
        plan.pause()

    plan.meanwhile(fire_and_pause)
    plan.fire(EIGHT)
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded", "02 08:02": "missed"}
    plan.resume()
    assert plan.watch(utc("02 10:00"))["succeeded"] == 1
    assert plan.watch()["total"] == 0
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded", "02 08:02": "succeeded"}


def test_what_makes_up_for_fires_is_held_back_by_the_next_pause_and_what_a_person_asks_for_is_not(
    make_plan: MakePlan,
) -> None:
    plan = make_plan("skip", "0 8 * * *", catch_up="all", catch_up_limit=9)
    plan.pause()
    for day in (2, 3, 4):
        plan.fire(utc(f"{day:02} 08:00"))
    plan.resume()
    assert plan.watch(utc("04 09:00"))["succeeded"] == 3
    plan.pause()
    plan.settle()
    assert (plan.performed, set(plan.became().values())) == ([], {"missed"})
    period = schedules.Backfill(task=NAME, first=utc("02 08:00"), last=utc("02 09:00"))
    schedules.backfill(plan.kit.context(), period, plan.planned)
    plan.settle()
    assert [run.scheduled_for for run in plan.performed] == [utc("02 08:00")]
    plan.resume()
    assert plan.watch(utc("06 07:00"))["succeeded"] == 2 + 1
    plan.settle()
    assert set(plan.became().values()) == {"succeeded"}
    assert len(plan.performed) == 4


def test_a_run_by_hand_in_the_minute_of_a_fire_is_repeated_as_that_fire(make_plan: MakePlan) -> None:
    plan = make_plan("skip", "0 8 * * *", catch_up="all", catch_up_limit=9)

    def fire_and_fail() -> None:
        assert "is held by request" in plan.fire(EIGHT)["reason"]
        fail()

    plan.meanwhile(fire_and_fail)
    plan.at(EIGHT)
    with pytest.raises(RunFailedError):
        plan.invoke()
    assert plan.watch(EIGHT + 20 * MINUTE)["succeeded"] == 1
    plan.settle()
    assert plan.became() == {"02 08:00": "succeeded"}


def test_manual_run_joined_by_a_fire_stays_scheduled_when_continued(make_plan: MakePlan) -> None:
    plan = make_plan("skip", "0 8 * * *")

    def fire_and_run_out_of_time() -> None:
        plan.fire(EIGHT)
        run_out_of_time()

    plan.meanwhile(fire_and_run_out_of_time)
    plan.at(EIGHT)
    assert plan.invoke()["continues"] is True
    plan.meanwhile(fail)
    plan.kit.drain()
    assert [(row.status, row.trigger) for row in plan.rows()] == [("failed", "schedule")]
