"""Editing a job: other data, or another type, for what waits or was given up; refused, it has changed nothing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.core.errors import TransientError
from nightshift.testkit.kit import NOON, Killed
from tests.operate.conftest import Desk


def test_a_job_that_was_given_up_is_performed_at_once_with_its_new_data(desk: Desk) -> None:
    job_id, other = desk.give_up(data={"name": "Anm"}), desk.give_up()
    assert desk.ask("edit", id=job_id, data={"name": "Ann"}) == {"edited": [job_id]}
    assert desk.letters() == [other]
    desk.kit.drain()
    assert [(job.id, job.attempt, job.payload.name) for job in desk.done] == [(job_id, 1, "Ann")]
    assert desk.ask("show", id=job_id)["data"] == {"name": "Ann"}


def test_an_edited_job_of_another_type_is_performed_as_that(desk: Desk) -> None:
    job_id = desk.give_up()
    desk.ask("edit", id=job_id, data={"numbers": [1, 2]}, type="add")
    desk.kit.drain()
    assert [(job.type, job.payload.numbers) for job in desk.done] == [("add", [1, 2])]


def test_a_message_that_could_not_be_read_becomes_a_job_by_an_edit(desk: Desk) -> None:
    job_id = desk.kit.send('{"type": "greet", "data": {"name": "Ann"')
    desk.kit.drain()
    desk.ask("edit", id=job_id, type="greet", data={"name": "Ann"})
    assert desk.letters() == []
    desk.kit.drain()
    assert desk.names() == ["Ann"]


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        ({"data": {"name": 7}}, "$.name"),
        ({"data": {}}, "`name`"),
        ({"data": {"name": "Ann"}, "type": "add"}, "`name`"),
        ({"data": {"numbers": ["one"]}, "type": "add"}, "$.numbers[0]"),
        ({"data": {"name": "Ann"}, "type": "grete"}, "no handler for jobs of type 'grete'"),
        ({"data": {"name": "Ann", "n": 2**63}}, "64 bits"),
        ({"data": {"name": "Ann", "n": float("nan")}}, "NaN"),
        ({"data": {"name": "\ud800"}}, "is not valid"),
    ],
)
def test_what_its_handler_cannot_take_is_refused(desk: Desk, edit: dict[str, Any], sentence: str) -> None:
    dead, waiting = desk.give_up(), desk.kit.enqueue("greet", {"name": "Bob"})
    for job_id in (dead, waiting):
        assert sentence in desk.refusal("edit", id=job_id, **edit)


def test_a_job_that_is_put_off_keeps_its_time_and_has_the_new_data_then(desk: Desk) -> None:
    job_id = desk.kit.enqueue("greet", {"name": "Anm"}, run_at=NOON + timedelta(days=1))
    desk.ask("edit", id=job_id, data={"name": "Ann"})
    desk.kit.drain()
    assert desk.done == []
    desk.kit.clock.advance(86_400)
    desk.kit.settle()
    assert desk.names() == ["Ann"]


def test_a_job_that_failed_keeps_its_attempts_and_has_the_new_data_at_the_next(desk: Desk) -> None:
    job_id = desk.kit.enqueue("greet", {"name": "Anm"})
    desk.error = TransientError("not now")
    desk.kit.drain()
    desk.ask("edit", id=job_id, data={"name": "Ann"})
    desk.kit.drain()
    assert desk.names() == ["Anm"]
    desk.kit.settle()
    assert [(job.payload.name, job.attempt) for job in desk.done] == [("Anm", 1), ("Ann", 2)]


def test_the_new_data_wins_over_whatever_copy_of_the_old_message_comes(desk: Desk) -> None:
    old = {"type": "greet", "data": {"name": "Anm"}, "id": "one"}
    desk.kit.send(old)
    desk.insert(id="one", data='{"name": "Anm"}')
    desk.ask("edit", id="one", data={"name": "Ann"}, type="wave")
    for _ in range(3):
        desk.kit.send(old)
        desk.kit.drain()
    assert [(job.type, job.payload.name) for job in desk.done] == [("wave", "Ann")]


@pytest.mark.parametrize("status", ["claimed", "processing", "completed", "cancelled", "expired"])
def test_a_job_in_work_or_over_is_not_edited(desk: Desk, status: str) -> None:
    desk.insert(id="one", status=status)
    sentence = desk.refusal("edit", id="one", data={"name": "Bob"})
    assert sentence == f"job one is {status}, so it cannot be edited"


@pytest.mark.parametrize("command", ["edit", "cancel"])
def test_what_is_being_performed_is_left_alone(desk: Desk, command: str) -> None:
    sentences = []
    perform = desk.perform

    def operate(context: Any, job: Any) -> Any:
        request: dict[str, Any] = {"data": {"name": "Bob"}} if command == "edit" else {}
        sentences.append(desk.refusal(command, id=job.id, **request))
        return perform(context, job)

    desk.kit.handlers["greet"] = replace(desk.kit.handlers["greet"], perform=operate)
    job_id = desk.kit.enqueue("greet", {"name": "Ann"})
    desk.kit.drain()
    assert len(sentences) == 1
    assert sentences[0].startswith(f"job {job_id} is claimed")
    assert (desk.kit.job(job_id).status, desk.names()) == ("completed", ["Ann"])


def test_an_edit_that_is_killed_has_been_made_whole_or_not_at_all(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = desk.give_up(data={"name": "Anm"})

    def kill(**_call: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(desk.kit.sqs, "receive_message", kill)
        with pytest.raises(Killed):
            desk.ask("edit", id=job_id, data={"name": "Ann"})
    desk.kit.settle()
    assert desk.ask("redrive") == {"retried": 0, "sent": 0, "settled": 1, "kept": 0}
    desk.kit.settle()
    assert desk.names() == ["Ann"]
