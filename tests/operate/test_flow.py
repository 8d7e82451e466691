"""Pausing and resuming a type: its jobs wait, none is lost, and the others do not notice."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import insert, select

from chalicelib.core.errors import TransientError
from chalicelib.schema import pauses
from nightshift.testkit.kit import NOON, PRIORITY, Kit
from tests.operate.conftest import Desk


def paused(desk: Desk) -> dict[str, str]:
    query = select(pauses.c.name, pauses.c.reason)
    rows = desk.kit.context().database.transact(lambda connection: connection.execute(query).all())
    return {row.name: row.reason for row in rows}


def pass_minutes(desk: Desk, minutes: int) -> None:
    """Let dispatch and the workers run as they do, each minute."""
    for _ in range(minutes):
        desk.kit.dispatch()
        desk.kit.drain()
        desk.kit.drain(queue=PRIORITY)
        desk.kit.clock.advance(60)


def test_jobs_of_a_paused_type_wait_on_both_queues_and_go_on_once_it_is_resumed(desk: Desk) -> None:
    before = desk.kit.enqueue("greet", {"name": "Ann"})
    assert desk.ask("pause", type="greet", reason="SES is down") == {"paused": "greet"}
    after = desk.kit.enqueue("greet", {"name": "Bob"})
    urgent = desk.kit.enqueue("greet", {"name": "Cid"}, queue="priority")
    by_message = desk.kit.send({"type": "greet", "data": {"name": "Dee"}})
    other = desk.kit.enqueue("wave", {"name": "Eve"})
    pass_minutes(desk, 60)
    assert desk.names() == ["Eve"]
    assert desk.statuses() == {other: "completed"} | dict.fromkeys((before, after, urgent, by_message), "pending")
    assert [row.attempts for row in desk.kit.jobs() if row.id != other] == [0, 0, 0, 0]

    assert desk.ask("resume", type="greet") == {"resumed": "greet", "paused": {}}
    pass_minutes(desk, 2)
    assert sorted(desk.names()) == ["Ann", "Bob", "Cid", "Dee", "Eve"]
    assert set(desk.statuses().values()) == {"completed"}
    assert desk.letters() == []


def test_a_paused_job_of_the_priority_queue_comes_back_to_it(desk: Desk) -> None:
    desk.ask("pause", type="greet", reason="SES is down")
    desk.kit.enqueue("greet", {"name": "Ann"}, queue="priority")
    pass_minutes(desk, 1)
    desk.ask("resume", type="greet")
    desk.kit.dispatch()
    desk.kit.drain()
    assert desk.done == []
    desk.kit.drain(queue=PRIORITY)
    assert desk.names() == ["Ann"]


def test_a_pause_survives_a_deployment(desk: Desk, database_url: str) -> None:
    desk.ask("pause", type="greet", reason="SES is down")
    deployed = Desk(kit=Kit(database_url, clock=desk.kit.clock))
    deployed.kit.enqueue("greet", {"name": "Ann"})
    pass_minutes(deployed, 10)
    assert deployed.done == []


def test_while_every_job_is_paused_none_begins_on_either_queue_and_all_are_kept(desk: Desk) -> None:
    before = desk.kit.enqueue("greet", {"name": "Ann"})
    assert desk.ask("pause", type="*", reason="the database moves") == {"paused": "*"}
    by_message = desk.kit.send({"type": "wave", "data": {"name": "Bob"}})
    urgent = desk.kit.enqueue("wave", {"name": "Cid"}, queue="priority")
    # No message of it is on any queue: it waits for dispatch.
    unsent = desk.insert(id="theirs")
    pass_minutes(desk, 60)
    assert desk.done == []
    assert desk.statuses() == dict.fromkeys((before, by_message, urgent, unsent), "pending")
    assert desk.ask("resume", type="*") == {"resumed": "*", "paused": {}}
    pass_minutes(desk, 2)
    assert sorted(desk.names()) == ["Ann", "Ann", "Bob", "Cid"]
    assert desk.letters() == []


def test_of_the_pause_of_every_job_and_that_of_a_type_one_is_lifted_at_a_time(desk: Desk) -> None:
    desk.ask("pause", type="*", reason="the database moves")
    desk.ask("pause", type="greet", reason="SES is down")
    desk.kit.enqueue("greet", {"name": "Ann"})
    desk.kit.enqueue("wave", {"name": "Bob"})
    assert desk.ask("resume", type="*") == {"resumed": "*", "paused": {"greet": "SES is down"}}
    pass_minutes(desk, 2)
    assert desk.names() == ["Bob"]
    desk.ask("pause", type="*", reason="the database moves")
    assert desk.ask("resume", type="greet") == {"resumed": "greet", "paused": {"*": "the database moves"}}
    pass_minutes(desk, 10)
    assert desk.names() == ["Bob"]


def test_pausing_again_keeps_the_newer_reason(desk: Desk) -> None:
    desk.ask("pause", type="greet", reason="SES is down")
    desk.ask("pause", type="wave", reason="nobody is in")
    desk.ask("pause", type="greet", reason="x" * 499 + "😀")
    assert paused(desk) == {"greet": "x" * 499 + "😀", "wave": "nobody is in"}


def test_a_type_without_a_handler_is_not_paused_and_those_with_one_are_named(desk: Desk) -> None:
    sentence = desk.refusal("pause", type="send_mail", reason="SES is down")
    assert sentence.startswith("there is no handler for jobs of type 'send_mail'; there are ")
    assert "send_email" in sentence
    assert paused(desk) == {}


def test_resuming_what_is_not_paused_says_so_and_leaves_other_pauses(desk: Desk) -> None:
    desk.ask("pause", type="greet", reason="SES is down")
    assert desk.ask("resume", type="wave") == {"resumed": None, "paused": {"greet": "SES is down"}}
    assert paused(desk) == {"greet": "SES is down"}


def test_a_type_that_has_lost_its_handler_can_be_resumed(desk: Desk) -> None:
    values = {"kind": "job", "name": "long_gone", "reason": "it broke", "paused_at": 1}
    desk.kit.context().database.transact(lambda connection: connection.execute(insert(pauses).values(**values)))
    assert desk.ask("resume", type="long_gone") == {"resumed": "long_gone", "paused": {}}
    assert paused(desk) == {}


def test_what_is_being_performed_when_the_pause_comes_ends(desk: Desk) -> None:
    perform = desk.perform

    def pause(context: Any, job: Any) -> Any:
        desk.ask("pause", type="greet", reason="SES is down")
        return perform(context, job)

    desk.kit.handlers["greet"] = replace(desk.kit.handlers["greet"], perform=pause)
    job_id = desk.kit.enqueue("greet", {"name": "Ann"})
    desk.kit.drain()
    assert desk.kit.job(job_id).status == "completed"


def test_a_pause_costs_a_failed_job_no_attempt(desk: Desk) -> None:
    job_id = desk.kit.enqueue("greet", {"name": "Ann"})
    desk.error = TransientError("SES is down")
    desk.kit.drain()
    desk.ask("pause", type="greet", reason="SES is down")
    pass_minutes(desk, 60)
    assert (desk.kit.job(job_id).status, len(desk.done)) == ("failed", 1)
    desk.ask("resume", type="greet")
    desk.error = None
    pass_minutes(desk, 2)
    assert (desk.kit.job(job_id).status, desk.done[-1].attempt) == ("completed", 2)


def test_what_is_retried_or_edited_during_a_pause_waits_for_its_end(desk: Desk) -> None:
    retried, edited = desk.give_up(), desk.give_up(data={"name": "Bop"})
    desk.ask("pause", type="greet", reason="SES is down")
    desk.ask("retry", ids=[retried])
    desk.ask("edit", id=edited, data={"name": "Bob"})
    pass_minutes(desk, 10)
    assert desk.done == []
    desk.ask("resume", type="greet")
    pass_minutes(desk, 2)
    assert sorted(desk.names()) == ["Ann", "Bob"]


def test_a_waiting_job_of_a_paused_type_can_be_cancelled(desk: Desk) -> None:
    job_id = desk.kit.enqueue("greet", {"name": "Ann"})
    desk.ask("pause", type="greet", reason="SES is down")
    pass_minutes(desk, 1)
    desk.ask("cancel", id=job_id)
    desk.ask("resume", type="greet")
    pass_minutes(desk, 2)
    assert (desk.statuses(), desk.done) == ({job_id: "cancelled"}, [])


def test_a_job_that_expires_during_a_pause_is_not_done_after_it(desk: Desk) -> None:
    job_id = desk.kit.enqueue("greet", {"name": "Ann"}, expires_at=NOON + timedelta(minutes=5))
    desk.ask("pause", type="greet", reason="SES is down")
    pass_minutes(desk, 10)
    desk.ask("resume", type="greet")
    pass_minutes(desk, 2)
    assert (desk.statuses(), desk.done) == ({job_id: "expired"}, [])
