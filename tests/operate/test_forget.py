"""Forgetting jobs that were given up: their rows go, and whatever could bring them back."""

import pytest
from botocore.exceptions import ClientError

from nightshift.testkit.kit import DEAD
from tests.operate.conftest import Desk


def test_a_forgotten_job_is_gone_with_its_letter_and_the_others_stay_to_be_seen(desk: Desk) -> None:
    ids = [desk.give_up(type_, error=error) for type_, error in (("greet", "a"), ("wave", "b"), ("greet", "c"))]
    waiting = desk.kit.enqueue("greet", {"name": "Bob"})
    assert desk.ask("forget", ids=[ids[0]]) == {"forgotten": [ids[0]]}
    assert (set(desk.statuses()), desk.letters()) == ({ids[1], ids[2], waiting}, ids[1:])
    assert desk.ask("forget", type="wave") == {"forgotten": [ids[1]]}
    assert desk.ask("forget", error="c") == {"forgotten": [ids[2]]}
    assert (set(desk.statuses()), desk.letters()) == ({waiting}, [])
    assert desk.ask("redrive") == {"retried": 0, "sent": 0, "settled": 0, "kept": 0}


def test_no_letter_brings_back_what_was_forgotten_also_none_that_sqs_moved_itself(desk: Desk) -> None:
    job_id = desk.give_up()
    desk.bury_unexplained({"type": "greet", "data": {"name": "Ann"}, "id": job_id})
    unnamed = desk.bury_unexplained({"type": "greet", "data": {"name": "Bob"}})
    desk.insert(id=unnamed, status="dead")
    assert len(desk.ask("forget", ids=[job_id, unnamed])["forgotten"]) == 2
    desk.ask("redrive")
    desk.kit.settle()
    assert (desk.kit.jobs(), desk.done) == ([], [])


def test_a_copy_of_a_forgotten_jobs_message_that_comes_late_is_a_new_job(desk: Desk) -> None:
    job_id = desk.give_up()
    desk.ask("forget", ids=[job_id])
    desk.kit.send({"type": "greet", "data": {"name": "Ann"}, "id": job_id})
    desk.kit.drain()
    assert [(job.id, job.attempt) for job in desk.done] == [(job_id, 1)]


def test_a_forgotten_job_lets_go_of_its_idempotency_key(desk: Desk) -> None:
    job_id = desk.give_up(idempotency_key="welcome")
    assert desk.kit.enqueue("greet", {"name": "Bob"}, idempotency_key="welcome") == job_id
    desk.ask("forget", ids=[job_id])
    assert desk.kit.enqueue("greet", {"name": "Bob"}, idempotency_key="welcome") != job_id
    desk.kit.drain()
    assert desk.names() == ["Bob"]


def test_where_letters_cannot_be_removed_no_row_is(desk: Desk) -> None:
    job_id = desk.give_up()
    desk.kit.sqs.refuse = {"DeleteMessage"}
    with pytest.raises(ClientError):
        desk.ask("forget", ids=[job_id])
    desk.kit.sqs.refuse = set()
    assert desk.statuses() == {job_id: "dead"}
    desk.kit.clock.advance(61)
    desk.ask("forget", ids=[job_id])
    assert (desk.kit.jobs(), desk.kit.sqs.messages(DEAD)) == ([], [])
