"""Redriving: whatever lies on the dead-letter queue is tried again once, under the id that it had, and none is lost."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.core.errors import PermanentError, TransientError
from chalicelib.queue.payloads import CLASSES, LIMIT, MAX_BYTES
from nightshift.local.environment import BUCKET
from nightshift.testkit.kit import DEAD, PRIORITY, WORK, Killed
from tests.operate.conftest import Desk

HELLO = {"type": "greet", "data": {"name": "Ann"}}
NOTHING = {"retried": 0, "sent": 0, "settled": 0, "kept": 0}


@pytest.fixture(autouse=True)
def _ends(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail instead of looking at the same letters for ever, on a clock that stands still."""
    receive, looks = desk.kit.sqs.receive_message, 0

    def count(**call: Any) -> dict[str, Any]:
        nonlocal looks
        looks += 1
        assert looks < 200, "it looks at the same letters again and again"
        return receive(**call)

    monkeypatch.setattr(desk.kit.sqs, "receive_message", count)


def redrive(desk: Desk, **counts: int) -> None:
    assert desk.ask("redrive") == NOTHING | counts


def pointer(key: str, bucket: str = BUCKET) -> str:
    return json.dumps([CLASSES[0], {"s3BucketName": bucket, "s3Key": key}])


def attributes(**values: str) -> dict[str, Any]:
    return {name: {"DataType": "String", "StringValue": value} for name, value in values.items()}


def ours(job_id: str) -> dict[str, str]:
    """Return what a worker writes beside the body of a job that it gives up."""
    return {"job_id": job_id, "error_type": "PermanentError", "reason": "no"}


def test_an_empty_queue_is_nothing_to_do(desk: Desk) -> None:
    desk.kit.enqueue("greet", {"name": "Ann"})
    redrive(desk)


def test_what_a_worker_gave_up_is_open_again_with_all_its_attempts(desk: Desk) -> None:
    ids = [desk.give_up(data={"name": str(n)}) for n in range(25)]
    redrive(desk, retried=25)
    assert desk.kit.sqs.messages(DEAD) == []
    desk.kit.drain()
    assert sorted(job.id for job in desk.done) == sorted(ids)
    assert {job.attempt for job in desk.done} == {1}
    assert set(desk.statuses().values()) == {"completed"}


def test_a_job_of_the_priority_queue_goes_back_to_it(desk: Desk) -> None:
    job_id = desk.insert(id="urgent", queue="priority")
    desk.bury_unexplained(HELLO | {"id": job_id})
    redrive(desk, sent=1)
    assert desk.kit.sqs.messages(WORK) == []
    desk.kit.drain(queue=PRIORITY)
    assert desk.names() == ["Ann"]


@pytest.mark.parametrize("body", [HELLO, HELLO | {"id": "one"}], ids=["without id", "with id"])
def test_what_sqs_moved_before_any_worker_had_it_is_done_under_its_own_id(desk: Desk, body: dict[str, Any]) -> None:
    message_id = desk.have_sqs_give_up(body)
    redrive(desk, sent=1)
    desk.kit.drain()
    assert [job.id for job in desk.done] == [body.get("id", message_id)]
    desk.kit.send(HELLO | {"id": body.get("id", message_id)})
    desk.kit.drain()
    assert len(desk.done) == 1


@pytest.mark.parametrize("body", [HELLO, HELLO | {"id": "one"}], ids=["without id", "with id"])
def test_a_job_that_was_left_in_the_middle_goes_on_as_the_same_job(desk: Desk, body: dict[str, Any]) -> None:
    message_id = desk.kit.send(body)
    with desk.kit.killed_at("end"):
        desk.kit.drain()
    desk.kit.sqs.messages(WORK)[0].receives = 10
    desk.kit.clock.advance(1800)
    assert desk.kit.receive() == []
    redrive(desk, sent=1)
    desk.kit.drain()
    desk.kit.settle()
    assert {job.id for job in desk.done} == {body.get("id", message_id)}
    assert desk.statuses() == {body.get("id", message_id): "completed"}


def test_a_job_that_failed_and_waits_is_not_hurried_by_its_letter(desk: Desk) -> None:
    job_id = desk.kit.enqueue("greet", {"name": "Ann"})
    desk.error = TransientError("not now")
    desk.kit.drain()
    desk.bury_unexplained(HELLO | {"id": job_id})
    redrive(desk, sent=1)
    desk.kit.drain()
    assert len(desk.done) == 1
    desk.error = None
    desk.kit.settle()
    assert [(job.id, job.attempt) for job in desk.done] == [(job_id, 1), (job_id, 2)]


@pytest.mark.parametrize("status", ["completed", "cancelled", "expired"])
def test_the_letter_of_a_job_that_is_over_goes_and_the_job_stays_as_it_is(desk: Desk, status: str) -> None:
    desk.insert(id="one", status=status, dispatch_at=None)
    desk.kit.sqs.send_message(QueueUrl=DEAD, MessageBody="?", MessageAttributes=attributes(**ours("one")))
    desk.bury_unexplained(HELLO | {"id": "one"})
    redrive(desk, settled=2)
    desk.kit.settle()
    assert (desk.kit.sqs.messages(DEAD), desk.done, desk.statuses()) == ([], [], {"one": status})


def test_the_letter_of_a_job_whose_row_is_pruned_does_it_again_under_its_id(desk: Desk) -> None:
    by_worker = attributes(**ours("one"))
    desk.kit.sqs.send_message(QueueUrl=DEAD, MessageBody=json.dumps(HELLO), MessageAttributes=by_worker)
    redrive(desk, sent=1)
    desk.kit.drain()
    assert [job.id for job in desk.done] == ["one"]


BROKEN = ['{"type": "greet"', "", "null", '{"type": "greet", "data": {"name": "Ann"}, "v": 2}', pointer("elsewhere/x")]


@pytest.mark.parametrize("body", BROKEN)
def test_a_letter_that_nobody_can_read_stays_to_be_seen(desk: Desk, body: str) -> None:
    by_worker = desk.kit.send(body)
    desk.kit.drain()
    desk.bury_unexplained(body)
    good = desk.give_up()
    before = desk.kit.job(by_worker)
    redrive(desk, retried=1, kept=2)
    assert desk.letters() == [by_worker, None]
    assert desk.kit.job(by_worker) == before
    redrive(desk, kept=2)
    desk.kit.drain()
    assert [job.id for job in desk.done] == [good]


@pytest.mark.parametrize("body", [HELLO, HELLO | {"id": "one"}], ids=["without id", "with id"])
@pytest.mark.parametrize(
    "theirs",
    [{"job_id": "x" * 40}, {"job_id": "trace 17"}, {"job_id": "J9", "reason": "urgent"}],
    ids=["too long", "with a space", "valid"],
)
def test_a_producers_own_attributes_give_its_job_no_other_id(
    desk: Desk, theirs: dict[str, str], body: dict[str, Any]
) -> None:
    sent = desk.kit.sqs.send_message(
        QueueUrl=DEAD, MessageBody=json.dumps(body), MessageAttributes=attributes(**theirs)
    )
    redrive(desk, sent=1)
    desk.kit.drain()
    assert [job.id for job in desk.done] == [body.get("id", sent["MessageId"])]


@pytest.mark.parametrize("command", ["retry", "forget", "edit"])
def test_a_letter_of_which_only_its_producer_says_so_does_not_go_with_a_job(desk: Desk, command: str) -> None:
    job_id = desk.give_up()
    theirs = attributes(job_id=job_id, reason="urgent")
    desk.kit.sqs.send_message(QueueUrl=DEAD, MessageBody=json.dumps(HELLO), MessageAttributes=theirs)
    which = {"id": job_id, "data": {"name": "Eve"}} if command == "edit" else {"ids": [job_id]}
    desk.ask(command, **which)
    assert [held.attributes for held in desk.kit.sqs.messages(DEAD)] == [theirs]


@pytest.mark.parametrize("job_id", ["x" * 40, "trace 17", "🐙"])
def test_a_letter_that_cannot_be_sent_again_stays_and_holds_up_no_other(desk: Desk, job_id: str) -> None:
    forged = attributes(**ours(job_id))
    desk.kit.sqs.send_message(QueueUrl=DEAD, MessageBody=json.dumps(HELLO), MessageAttributes=forged)
    behind = [desk.have_sqs_give_up(HELLO), desk.give_up()]
    redrive(desk, sent=1, retried=1, kept=1)
    assert desk.letters() == [job_id]
    desk.kit.drain()
    assert sorted(job.id for job in desk.done) == sorted(behind)


def test_a_body_that_is_too_long_only_once_it_is_ascii_stays_and_holds_up_no_other(desk: Desk) -> None:
    desk.kit.s3.objects["payloads/1"] = json.dumps(
        HELLO | {"more": "ä" * (MAX_BYTES // 3)}, ensure_ascii=False
    ).encode()
    desk.bury_unexplained(pointer("payloads/1"))
    desk.give_up()
    redrive(desk, retried=1, kept=1)


def test_a_job_that_is_given_up_again_meanwhile_is_not_retried_for_ever(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [desk.give_up(data={"name": str(n)}) for n in range(3)]
    desk.error = PermanentError("it broke again")
    delete = desk.kit.sqs.delete_message

    def work_and_delete(**call: Any) -> Any:
        if call["QueueUrl"] == DEAD:
            desk.kit.drain()
        return delete(**call)

    monkeypatch.setattr(desk.kit.sqs, "delete_message", work_and_delete)
    redrive(desk, retried=3, kept=3)
    assert sorted(map(str, desk.letters())) == sorted(ids)
    assert (set(desk.statuses().values()), len(desk.done)) == ({"dead"}, 3)


def long_hello() -> dict[str, Any]:
    return {"type": "greet", "data": {"name": "A" * (LIMIT + 1)}}


def test_a_body_that_was_too_long_for_sqs_comes_back_whole(desk: Desk) -> None:
    job_id = desk.give_up(data=long_hello()["data"])
    (letter,) = desk.kit.sqs.messages(DEAD)
    assert json.loads(letter.body)["data_in_row"] is True
    redrive(desk, retried=1)
    desk.kit.drain()
    assert [(job.id, len(job.payload.name)) for job in desk.done] == [(job_id, LIMIT + 1)]


def test_a_pointer_that_sqs_moved_itself_is_followed(desk: Desk) -> None:
    desk.kit.s3.objects["payloads/1"] = json.dumps(long_hello()).encode()
    message_id = desk.have_sqs_give_up(pointer("payloads/1"))
    redrive(desk, sent=1)
    desk.kit.drain()
    assert [(job.id, len(job.payload.name)) for job in desk.done] == [(message_id, LIMIT + 1)]


def test_a_payload_that_is_gone_holds_up_no_other_letter_and_its_job_has_its_row(desk: Desk) -> None:
    known = desk.give_up(data=long_hello()["data"])
    desk.kit.s3.objects.clear()
    desk.bury_unexplained(pointer("payloads/gone"))
    other = desk.give_up("wave")
    redrive(desk, retried=2, kept=1)
    assert desk.letters() == [None]
    desk.kit.drain()
    assert {job.id for job in desk.done} == {known, other}


def test_a_payload_that_cannot_be_read_now_stays_and_holds_up_no_other_letter(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.kit.s3.objects["payloads/1"] = json.dumps(long_hello()).encode()
    desk.bury_unexplained(pointer("payloads/1"))
    desk.give_up("wave")

    def unreachable(**_call: Any) -> None:
        raise OSError("S3 cannot be reached")

    with monkeypatch.context() as patched:
        patched.setattr(desk.kit.s3, "get_object", unreachable)
        redrive(desk, retried=1, kept=1)
    redrive(desk, sent=1)
    desk.kit.drain()
    assert len(desk.done) == 2


def test_without_time_nothing_is_done_and_nothing_lost(desk: Desk) -> None:
    ids = [desk.give_up() for _ in range(15)]
    assert desk.ask("redrive", seconds=9) == NOTHING
    assert set(desk.statuses().values()) == {"dead"}
    desk.kit.clock.advance(60)
    assert sorted(map(str, desk.letters())) == sorted(ids)
    redrive(desk, retried=15)


def test_when_time_runs_short_the_rest_stays_for_the_next_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [desk.give_up(data={"name": str(n)}) for n in range(15)]
    send = desk.kit.sqs.send_message_batch

    def slow(**call: Any) -> Any:
        desk.kit.clock.advance(10)
        return send(**call)

    with monkeypatch.context() as patched:
        patched.setattr(desk.kit.sqs, "send_message_batch", slow)
        first = desk.ask("redrive", seconds=50)["retried"]
    assert 0 < first < 15
    desk.kit.clock.advance(60)
    redrive(desk, retried=15 - first)
    desk.kit.drain()
    assert sorted(job.id for job in desk.done) == sorted(ids)


@pytest.mark.parametrize("operation", ["SendMessageBatch", "DeleteMessage", "ReceiveMessage"])
def test_where_sqs_fails_in_the_middle_the_next_time_mends_it(desk: Desk, operation: str) -> None:
    ids = {desk.give_up(), desk.have_sqs_give_up(HELLO)}
    desk.kit.sqs.refuse = {operation}
    with pytest.raises(Exception, match="it is broken"):
        desk.ask("redrive")
    desk.kit.sqs.refuse = set()
    desk.kit.clock.advance(60)
    desk.ask("redrive")
    desk.kit.settle()
    assert sorted(job.id for job in desk.done) == sorted(ids)
    assert desk.kit.sqs.messages(DEAD) == []


def test_a_letter_that_can_be_seen_again_before_the_end_is_no_error(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.bury_unexplained("unreadable")
    ids = [desk.give_up(data={"name": str(n)}) for n in range(12)]
    send, change = desk.kit.sqs.send_message_batch, desk.kit.sqs.change_message_visibility

    def slow(**call: Any) -> Any:
        desk.kit.clock.advance(10)
        return send(**call)

    def refuse(**call: Any) -> Any:
        # As SQS does for a message that is not hidden.
        (held,) = (held for held in desk.kit.sqs.messages(DEAD) if held.receipt == call["ReceiptHandle"])
        if held.visible_ms <= desk.kit.clock.now_ms():
            raise ClientError({"Error": {"Code": "MessageNotInflight", "Message": "not in flight"}}, "Change")
        return change(**call)

    monkeypatch.setattr(desk.kit.sqs, "send_message_batch", slow)
    monkeypatch.setattr(desk.kit.sqs, "change_message_visibility", refuse)
    first = desk.ask("redrive", seconds=85)
    assert first["kept"] == 1
    desk.kit.clock.advance(60)
    second = desk.ask("redrive", seconds=900)
    assert (second["kept"], first["retried"] + second["retried"]) == (1, len(ids))


CALLS = ("receive_message", "send_message_batch", "delete_message", "change_message_visibility")


def kill_at(desk: Desk, nth: int, moment: str, patched: pytest.MonkeyPatch) -> None:
    """Have the process end at the n-th call to SQS, before SQS does it or when its answer is on the way."""
    calls = 0

    def deadly(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(**arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth and moment == "before":
                raise Killed
            answer = call(**arguments)
            if calls == nth:
                raise Killed
            return answer

        return wrapper

    for name in CALLS:
        patched.setattr(desk.kit.sqs, name, deadly(getattr(desk.kit.sqs, name)))


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("nth", range(1, 9))
def test_killed_at_any_call_and_run_again_it_has_lost_and_doubled_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, nth: int, moment: str
) -> None:
    by_sqs = desk.have_sqs_give_up(HELLO)
    by_worker = desk.give_up()
    over = desk.insert(id="over", status="completed", dispatch_at=None)
    desk.bury_unexplained(HELLO | {"id": over})
    desk.bury_unexplained("unreadable")
    with monkeypatch.context() as patched:
        kill_at(desk, nth, moment, patched)
        with pytest.raises(Killed):
            desk.ask("redrive")
    # Some of it may be done before anybody looks again, and some not.
    if nth % 2:
        desk.kit.drain()
    desk.kit.clock.advance(60)
    desk.ask("redrive")
    desk.kit.settle()
    assert sorted(job.id for job in desk.done) == sorted([by_sqs, by_worker])
    assert set(desk.statuses().values()) == {"completed"}
    assert [held.body for held in desk.kit.sqs.messages(DEAD)] == ["unreadable"]
    assert desk.kit.sqs.messages(WORK) == []
