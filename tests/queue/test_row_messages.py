"""A message that is only the id of a row: what the worker does about it, whatever the row's state."""

import json

import pytest

from chalicelib.operate.dead_letters import redrive
from chalicelib.operate.operations import Nothing
from chalicelib.queue.job import OVER, Status
from chalicelib.queue.message import Message, decode, encode
from nightshift.testkit.kit import DEAD, PRIORITY, WORK, Kit
from tests.queue.samples import dead_letters, fail, handle, insert_job, left, pause, resume, statuses
from tests.servers import on_each_server


@on_each_server
def test_job_of_the_row_is_performed_at_once_and_once(kit: Kit) -> None:
    begun = handle(kit)
    insert_job(kit, id="j1", data='{"text": "hello"}')
    for _ in range(2):
        kit.send({"id": "j1"})
    kit.drain()
    kit.settle()
    assert [(job.id, job.type, job.payload.text) for job in begun] == [("j1", "note", "hello")]
    assert (statuses(kit), kit.sqs.messages(DEAD)) == ({"j1": "completed"}, [])


def test_batch_of_ids_is_claimed_together(kit: Kit) -> None:
    begun = handle(kit)
    for n in range(10):
        kit.send({"id": insert_job(kit, id=f"j{n}")})
    assert kit.work(kit.receive()) == {"messages": 10, "succeeded": 10}
    assert len(begun) == 10


def test_id_that_comes_before_the_commit_is_retried(kit: Kit) -> None:
    begun = handle(kit)
    kit.send({"id": "j1"})
    kit.drain()
    assert (begun, left(kit), kit.jobs()) == ([], [10], [])
    insert_job(kit, id="j1")
    kit.clock.advance(10)
    kit.drain()
    assert (len(begun), statuses(kit), kit.sqs.messages(DEAD)) == (1, {"j1": "completed"}, [])


def test_id_without_a_row_is_dead_after_forty_seconds_with_the_reason(kit: Kit) -> None:
    kit.send({"id": "gone"})
    for seconds in (10, 30):
        kit.drain()
        assert (left(kit), kit.sqs.messages(DEAD)) == ([seconds], [])
        kit.clock.advance(seconds)
    kit.drain()
    assert dead_letters(kit) == [({"id": "gone"}, "job gone has no row in this database; send its id after the commit")]
    assert kit.jobs() == []
    assert redrive(kit.context(), Nothing())["kept"] == 1


@pytest.mark.parametrize("status", OVER)
def test_id_of_a_job_that_is_over_is_acknowledged(kit: Kit, status: Status) -> None:
    begun = handle(kit)
    insert_job(kit, id="j1", status=status.value, dispatch_at=None)
    kit.send({"id": "j1"})
    assert kit.work(kit.receive()) == {"messages": 1, "skipped": 1}
    assert (begun, left(kit), kit.sqs.messages(DEAD)) == ([], [], [])


def test_id_of_a_job_that_is_not_due_waits_for_it(kit: Kit) -> None:
    begun = handle(kit)
    due_ms = kit.clock.now_ms() + 3_600_000
    insert_job(kit, id="j1", due_at=due_ms, dispatch_at=due_ms)
    kit.send({"id": "j1"})
    kit.drain()
    assert (begun, left(kit), kit.job("j1").dispatch_at) == ([], [], due_ms)


def test_id_of_a_paused_type_is_performed_after_the_resume(kit: Kit) -> None:
    begun = handle(kit)
    pause(kit)
    insert_job(kit, id="j1")
    kit.send({"id": "j1"})
    kit.drain()
    assert (begun, left(kit)) == ([], [])
    resume(kit)
    kit.settle()
    assert len(begun) == 1


@pytest.mark.parametrize("queue", [WORK, PRIORITY])
def test_id_on_either_queue_performs_the_job(kit: Kit, queue: str) -> None:
    begun = handle(kit)
    insert_job(kit, id="j1", queue="priority")
    kit.send({"id": "j1"}, queue=queue)
    kit.drain(queue=queue)
    assert len(begun) == 1
    assert kit.job("j1").status == "completed"


def test_failed_job_is_retried_and_its_dead_letter_redriven(kit: Kit) -> None:
    begun = fail(kit, ValueError("no luck"), max_attempts=2)
    insert_job(kit, id="j1")
    kit.send({"id": "j1"})
    kit.settle()
    assert (len(begun), dead_letters(kit)) == (2, [({"id": "j1"}, "no luck")])
    handle(kit)
    assert redrive(kit.context(), Nothing())["retried"] == 1
    kit.settle()
    assert kit.job("j1").status == "completed"


def test_id_alone_is_a_message_and_is_written_as_it_came() -> None:
    message = decode('{"id": "j1", "traceparent": "t", "shop": 7}')
    assert message == Message(type="invalid", data={}, id="j1", data_in_row=True, traceparent="t", unknown={"shop": 7})
    assert json.loads(encode(message)) == {"id": "j1", "traceparent": "t", "shop": 7}
