"""The worker: what becomes of a job and of its message, however the message comes and however the attempt ends."""

import json
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, select

from chalicelib.core.clock import iso, to_ms
from chalicelib.core.context import Context
from chalicelib.core.errors import InvalidRequestError, PermanentError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import logger
from chalicelib.operate.dead_letters import redrive
from chalicelib.operate.operations import Nothing
from chalicelib.queue import worker
from chalicelib.queue.claim import BACKUP_MS
from chalicelib.queue.dispatch import LOOKAHEAD_MS
from chalicelib.queue.handler import Handler, Rate, find_handler, known_types
from chalicelib.queue.job import OVER, Job, Status
from chalicelib.queue.payloads import MAX_BYTES
from chalicelib.queue.services import payloads
from chalicelib.queue.worker import FIRST_WAIT_SECONDS, MOST_RECEIVES
from chalicelib.schema import rate_slots
from nightshift.testkit.kit import DEAD, NOON, PRIORITY, WORK, Kit
from nightshift.testkit.kit import event as kit_event
from nightshift.testkit.memory import VISIBILITY_SECONDS
from tests.queue.samples import (
    Note,
    change_job,
    dead_letters,
    fail,
    handle,
    insert_job,
    left,
    pause,
    resume,
    statuses,
)
from tests.servers import on_each_server

MESSAGE = {"type": "note", "data": {"text": "hello"}}

Log = Callable[[], list[dict[str, Any]]]


def reasons(kit: Kit) -> list[str]:
    return [reason for _, reason in dead_letters(kit)]


def test_message_is_performed_and_recorded(kit: Kit) -> None:
    begun = handle(kit)
    message_id = kit.send(MESSAGE)
    assert kit.work(kit.receive()) == {"messages": 1, "succeeded": 1}
    (job,) = begun
    assert (job.id, job.type, job.payload, job.attempt, job.is_last_attempt) == (
        message_id,
        "note",
        Note(text="hello"),
        1,
        False,
    )
    row = kit.job(message_id)
    assert (row.status, row.attempts, row.queue, row.data) == ("completed", 1, "work", '{"text":"hello"}')
    assert (row.created_at, row.started_at, row.completed_at, row.ended_at) == (kit.clock.now_ms(),) * 4
    assert (row.lease_until, row.dispatch_at, row.last_error) == (0, None, None)
    assert (left(kit), kit.sqs.messages(DEAD)) == ([], [])


def test_copies_that_look_new_cost_three_statements_and_one_line(kit: Kit, log: Log) -> None:
    begun = handle(kit)
    for n in range(10):
        kit.send({"type": "note", "data": {"text": str(n)}})
    messages = kit.receive()
    kit.work(messages)
    asked: list[str] = []
    engine = kit.context().database.engine

    def note(_connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        asked.append(" ".join(sql.split()[:2]))

    event.listen(engine, "before_cursor_execute", note)
    try:
        assert kit.work(messages) == {"messages": 10, "skipped": 10}
    finally:
        event.remove(engine, "before_cursor_execute", note)
    # What is paused, the rows that are there already, and what these say.
    assert [sql.partition(" ")[0] for sql in asked] == ["SELECT", "INSERT", "SELECT"]
    (line,) = [line for line in log() if line.get("outcome") == "skipped"]
    assert (line["message"], len(line["job_ids"]), line["skipped"]) == ("jobs skipped", 10, 0)
    assert line["reason"].startswith(f"job {messages[0]['MessageId']} is completed; ")
    assert len(begun) == 10


def test_ten_messages_are_ten_jobs(kit: Kit) -> None:
    begun = handle(kit)
    for n in range(10):
        kit.send({"type": "note", "data": {"text": n}})
    assert kit.work(kit.receive()) == {"messages": 10, "succeeded": 10}
    assert sorted(job.payload.text for job in begun) == list(range(10))
    assert set(statuses(kit).values()) == {"completed"}


def test_what_a_message_says_of_itself_reaches_the_handler(kit: Kit) -> None:
    begun = handle(kit)
    kit.send({**MESSAGE, "id": "i1", "tags": ["a", "b"], "source": "billing", "traceparent": "00-1-2-01", "v": 1})
    kit.drain()
    assert [(job.id, job.tags, job.source, job.traceparent) for job in begun] == [
        ("i1", ("a", "b"), "billing", "00-1-2-01")
    ]


def test_empty_event_does_nothing(kit: Kit) -> None:
    assert worker.work({}, kit.context(), queue="work") == {"messages": 0}
    assert kit.jobs() == []


@pytest.mark.parametrize("event", [None, [], "x", {"Records": []}, {"Records": {}}, {"type": "note", "data": {}}])
def test_event_that_is_not_from_sqs_is_refused(kit: Kit, event: object) -> None:
    with pytest.raises(InvalidRequestError, match="the worker takes SQS events"):
        worker.work(event, kit.context(), queue="work")


def test_redelivered_message_has_no_second_effect(kit: Kit) -> None:
    begun = handle(kit)
    kit.send(MESSAGE)
    messages = kit.receive()
    kit.work(messages)
    assert kit.work(messages) == {"messages": 1, "skipped": 1}
    assert len(begun) == 1


@pytest.mark.parametrize("status", OVER)
def test_a_message_for_a_job_that_is_over_is_acknowledged(kit: Kit, status: Status) -> None:
    begun = handle(kit)
    insert_job(kit, id="j", status=status, dispatch_at=None)
    kit.redeliver("j")
    assert kit.work(kit.receive()) == {"messages": 1, "skipped": 1}
    assert (begun, left(kit), kit.job("j").status) == ([], [], status)


def test_two_messages_for_one_job_in_one_batch_perform_it_once(kit: Kit) -> None:
    begun = handle(kit)
    for text in ("first", "second"):
        kit.send({"type": "note", "data": {"text": text}, "id": "same"})
    assert kit.work(kit.receive()) == {"messages": 2, "skipped": 1, "succeeded": 1}
    assert [job.payload.text for job in begun] == ["first"]
    assert (left(kit), len(kit.jobs())) == ([], 1)


def test_of_two_messages_for_one_failed_job_one_stays(kit: Kit) -> None:
    begun = fail(kit, ValueError("no"))
    for _ in range(2):
        kit.send({**MESSAGE, "id": "same"})
    assert kit.work(kit.receive()) is None
    assert (len(begun), kit.job("same").attempts, len(left(kit))) == (1, 1, 1)


def test_messages_that_come_out_of_order_are_each_done(kit: Kit) -> None:
    begun = handle(kit)
    for n in range(6):
        kit.send({"type": "note", "data": {"text": n}})
    messages = kit.receive()
    kit.work(messages[3:][::-1])
    kit.work(messages[:3][::-1])
    assert [job.payload.text for job in begun] == [5, 4, 3, 2, 1, 0]


def test_id_that_database_takes_for_another_is_dead_at_once_and_stays_so_when_redriven(kit: Kit) -> None:
    begun = handle(kit)
    insert_job(kit, id="ABC", data='{"text": "row"}')
    kit.send({"type": "note", "data": {"text": "message"}, "id": "abc"})
    kit.redeliver("ABC")
    kit.send({"type": "note", "data": {"text": "neighbour"}, "id": "n"})
    assert kit.work(kit.receive()) is not None
    if kit.context().database.engine.dialect.name == "sqlite":
        assert statuses(kit) == dict.fromkeys(("ABC", "abc", "n"), "completed")
        return
    assert statuses(kit) == {"ABC": "completed", "n": "completed"}
    assert sorted(job.payload.text for job in begun) == ["neighbour", "row"]
    reason = "the database takes the id abc for that of job ABC; ids must differ by more than case or accents"
    assert reasons(kit) == [reason]
    change_job(kit, "ABC", status="dead")
    letters = kit.sqs.messages(DEAD)
    # SQS's own mover brings it back, and the other job must not be tried again for it.
    kit.sqs.messages(WORK).extend(letters)
    letters.clear()
    kit.drain()
    assert (kit.job("ABC").status, reasons(kit)) == ("dead", [reason])
    answer = redrive(kit.context(), Nothing())
    assert (answer["kept"], kit.job("ABC").status, reasons(kit)) == (1, "dead", [reason])


@pytest.mark.parametrize("ids", [("a", "A"), ("A", "a")])
def test_of_two_new_ids_in_one_batch_that_differ_by_case_one_is_performed_and_one_is_dead(
    kit: Kit, ids: tuple[str, str]
) -> None:
    begun = handle(kit)
    for id_ in (*ids, "n"):
        kit.send({"type": "note", "data": {"text": id_}, "id": id_})
    assert kit.work(kit.receive()) is not None
    if kit.context().database.engine.dialect.name == "sqlite":
        assert statuses(kit) == dict.fromkeys((*ids, "n"), "completed")
        return
    assert statuses(kit) == {ids[0]: "completed", "n": "completed"}
    assert sorted(job.payload.text for job in begun) == sorted((ids[0], "n"))
    assert len(reasons(kit)) == 1


@on_each_server
def test_row_whose_id_equals_a_message_by_accents_alone_keeps_its_own_job(kit: Kit) -> None:
    begun = handle(kit)
    insert_job(kit, id="é", data='{"text": "row"}')
    kit.send({"type": "note", "data": {"text": "message"}, "id": "e"})
    kit.send({"type": "note", "data": {"text": "neighbour"}})
    assert kit.work(kit.receive()) is not None
    assert [job.payload.text for job in begun] == ["neighbour"]
    assert reasons(kit) == [
        "the database takes the id e for that of job é; ids must differ by more than case or accents"
    ]


def test_edit_between_look_and_claim_is_what_is_performed(kit: Kit) -> None:
    begun = handle(kit)
    job_id = kit.enqueue("note", {"text": "before"})

    def edit(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE jobs SET attempts"):
            event.remove(kit.context().database.engine, "before_cursor_execute", edit)
            change_job(kit, job_id, data='{"text": "after"}')

    event.listen(kit.context().database.engine, "before_cursor_execute", edit)
    kit.drain()
    assert [job.payload.text for job in begun] == ["after"]
    assert (kit.job(job_id).status, kit.job(job_id).data) == ("completed", '{"text": "after"}')


def test_message_for_data_in_a_row_that_is_gone_is_dead_with_the_reason(kit: Kit) -> None:
    begun = handle(kit)
    kit.send({"type": "note", "data": {}, "id": "gone", "data_in_row": True})
    for _ in range(3):
        kit.drain()
        kit.clock.advance(30)
    assert (begun, statuses(kit)) == ([], {})
    assert reasons(kit) == ["job gone has no row in this database; send its id after the commit"]
    assert redrive(kit.context(), Nothing())["kept"] == 1


def test_row_whose_data_is_longer_than_allowed_is_dead_and_never_read(kit: Kit) -> None:
    begun = handle(kit)
    insert_job(kit, id="long", data='{"text": "' + "x" * MAX_BYTES + '"}')
    kit.send({"type": "note", "data": {}, "id": "long", "data_in_row": True})
    assert kit.work(kit.receive()) == {"messages": 1, "dead": 1}
    assert (begun, kit.job("long").status) == ([], "dead")
    assert reasons(kit) == [f"the job's data has more than the {MAX_BYTES} bytes allowed"]


FOREIGN: dict[str, Any] = {
    "SNS": {"EventSource": "aws:sns", "Sns": {"Message": "hello"}},
    "S3": {"eventSource": "aws:s3", "s3": {"object": {"key": "k"}}},
    "Kinesis": {"eventSource": "aws:kinesis", "kinesis": {"data": "aGVsbG8="}},
    "no id": {"eventSource": "aws:sqs", "body": "{}", "receiptHandle": "r"},
    "text": "hello",
    "null": None,
}


@pytest.mark.parametrize("what", FOREIGN)
def test_record_of_a_wrong_trigger_is_named_and_the_good_ones_are_done(kit: Kit, log: Log, what: str) -> None:
    begun = handle(kit)
    for n in range(2):
        kit.send({"type": "note", "data": {"text": n}})
    event_ = kit_event(kit.receive())
    event_["Records"].insert(1, FOREIGN[what])
    with pytest.raises(
        InvalidRequestError, match=r"\A1 of the worker's records are not messages: a record of .* is not"
    ):
        worker.work(event_, kit.context(), queue="work", find=lambda _, type_: kit.handlers[type_])
    assert [job.payload.text for job in begun] == [0, 1]
    assert (set(statuses(kit).values()), left(kit)) == ({"completed"}, [])
    assert [line["message"] for line in log() if line.get("level") == "ERROR"] == [
        "the worker got a record that is not an SQS message; check its trigger"
    ]


def test_message_without_a_body_is_dead_and_its_neighbour_is_done(kit: Kit) -> None:
    begun = handle(kit)
    kit.send(MESSAGE)
    kit.send("")
    messages = kit.receive()
    messages[1]["Body"] = None
    assert kit.work(messages) == {"messages": 2, "succeeded": 1, "dead": 1}
    assert len(begun) == 1


def test_jobs_released_repeatedly_are_all_completed(kit: Kit) -> None:
    def perform(_job: Job[Note]) -> None:
        kit.clock.advance(0.2)

    # The time limit of the handler leaves no time for a second job in an invocation of a minute.
    begun = handle(kit, perform, timeout_seconds=60)
    for n in range(60):
        kit.send({"type": "note", "data": {"text": n}})
    order = random.Random(1)
    for _ in range(300):
        # SQS gives them in no order.
        order.shuffle(kit.sqs.messages(WORK))
        if not (messages := kit.receive()):
            break
        kit.work(messages, seconds=60)
    assert sorted(job.payload.text for job in begun) == list(range(60))
    assert (kit.sqs.messages(DEAD), left(kit)) == ([], [])
    assert {(job.status, job.attempts) for job in kit.jobs()} == {("completed", 1)}


def test_a_failed_attempt_is_recorded_and_its_message_comes_again_when_the_next_is_due(kit: Kit) -> None:
    begun = fail(kit, ValueError("no luck"))
    job_id = kit.send(MESSAGE)
    assert kit.work(kit.receive()) is None
    row = kit.job(job_id)
    assert (row.status, row.attempts, row.last_error) == ("failed", 1, "ValueError: no luck")
    assert (row.lease_until, row.completed_at, row.ended_at) == (0, None, kit.clock.now_ms())
    wait_ms = row.due_at - kit.clock.now_ms()
    assert 48_000 <= wait_ms <= 72_000
    assert left(kit) == [-(-wait_ms // 1000)]
    # Should the message get lost, dispatch sends another.
    assert row.dispatch_at == row.due_at + BACKUP_MS
    kit.clock.advance(left(kit)[0])
    kit.work(kit.receive())
    assert [job.attempt for job in begun] == [1, 2]
    assert 240 <= left(kit)[0] <= 360


def test_a_job_that_succeeds_at_last_is_completed_and_its_error_is_gone(kit: Kit) -> None:
    def perform(job: Any) -> None:
        if job.attempt < 3:
            raise ValueError("no")

    begun = handle(kit, perform)
    job_id = kit.send(MESSAGE)
    kit.settle()
    assert [(job.attempt, job.is_last_attempt) for job in begun] == [(1, False), (2, False), (3, True)]
    row = kit.job(job_id)
    assert (row.status, row.attempts, row.last_error) == ("completed", 3, None)
    assert (left(kit), kit.sqs.messages(DEAD)) == ([], [])


def test_after_its_last_attempt_a_job_is_given_up_with_its_reason(kit: Kit) -> None:
    begun = fail(kit, ValueError("no luck"))
    job_id = kit.send(MESSAGE)
    kit.settle()
    assert len(begun) == 3
    row = kit.job(job_id)
    assert (row.status, row.attempts, row.last_error, row.dispatch_at) == ("dead", 3, "ValueError: no luck", None)
    assert left(kit) == []
    (held,) = kit.sqs.messages(DEAD)
    assert json.loads(held.body) == {**MESSAGE, "id": job_id}
    assert {name: value["StringValue"] for name, value in held.attributes.items()} == {
        "job_id": job_id,
        "error_type": "ValueError",
        "reason": "no luck",
    }


def test_a_copy_that_comes_before_the_next_attempt_is_due_costs_nothing(kit: Kit) -> None:
    begun = fail(kit, ValueError("no"))
    job_id = kit.send(MESSAGE)
    kit.work(kit.receive())
    due_at = kit.job(job_id).due_at
    kit.redeliver(job_id)
    assert kit.work(kit.receive()) == {"messages": 1, "skipped": 1}
    row = kit.job(job_id)
    assert (len(begun), row.attempts, row.status, row.due_at) == (1, 1, "failed", due_at)


class TooLateError(Exception):
    """An error of some library."""


@pytest.mark.parametrize("error", [PermanentError("never"), InvalidRequestError("never"), TooLateError("never")])
def test_permanent_error_makes_job_dead_at_once(kit: Kit, error: Exception) -> None:
    begun = fail(kit, error, permanent=(TooLateError,))
    job_id = kit.send(MESSAGE)
    assert kit.work(kit.receive()) == {"messages": 1, "dead": 1}
    assert (len(begun), kit.job(job_id).status, reasons(kit), left(kit)) == (1, "dead", ["never"], [])


def test_long_error_is_cut(kit: Kit) -> None:
    fail(kit, PermanentError("🐙" * 100_000))
    job_id = kit.send(MESSAGE)
    kit.drain()
    assert kit.job(job_id).last_error == "PermanentError: " + "🐙" * 10_000
    assert reasons(kit) == ["🐙" * 1000]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("", "the message is not valid: Expecting value"),
        ("hello", "the message is not valid: Expecting value"),
        ("{" + '"a":{' * 100 + "}" * 101, "the message is not valid: "),
        ('{"type":"note","data":{}', "the message is not valid: "),
        ('{"type":"note"}', "the message is not valid: Object missing required field `data`"),
        ('{"type":"note","data":[]}', r"the message is not valid: Expected `object`, got `array` - at `\$\.data`"),
        ('{"type":"note","data":{},"id":"a b"}', "the message is not valid: "),
        ('{"type":"note","data":{"text":NaN}}', "the message is not valid: NaN is not a number in JSON"),
        ('["software.amazon.payloadoffloading.PayloadS3Pointer",{}]', "the pointer to a payload is not valid: "),
        (
            '["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"payloads/k"}]',
            "the pointer is to another bucket",
        ),
        ('{"type":"note","data":{},"x":"' + "y" * 65_536 + '"}', "the message's own keys take more than 65535 bytes"),
    ],
    ids=lambda value: value[:30],
)
def test_a_body_that_cannot_be_read_is_dead_at_once_and_costs_its_neighbours_nothing(
    kit: Kit, body: str, sentence: str
) -> None:
    begun = handle(kit)
    kit.send(MESSAGE)
    bad = kit.send(body)
    kit.send(MESSAGE)
    assert kit.work(kit.receive()) == {"messages": 3, "succeeded": 2, "dead": 1}
    assert (len(begun), left(kit)) == (2, [])
    row = kit.job(bad)
    assert (row.type, row.status, row.attempts, json.loads(row.data)) == ("invalid", "dead", 1, body)
    assert sentence.replace("\\", "") in row.last_error
    (held,) = kit.sqs.messages(DEAD)
    assert held.body == body
    assert held.attributes["job_id"]["StringValue"] == bad
    assert row.last_error.endswith(held.attributes["reason"]["StringValue"])


def test_job_without_handler_is_dead_and_reason_names_known_types(kit: Kit) -> None:
    job_id = kit.send({"type": "unheard_of", "data": {}})
    assert kit.work(kit.receive()) == {"messages": 1, "dead": 1}
    assert (kit.job(job_id).type, kit.job(job_id).status) == ("unheard_of", "dead")
    assert reasons(kit) == [f"there is no handler for jobs of type 'unheard_of'; there are {', '.join(known_types())}"]


def test_each_line_that_a_handler_writes_has_the_type_and_the_id_of_its_own_job(kit: Kit, log: Log) -> None:
    for type_ in ("note", "memo"):
        handle(kit, lambda job: logger.info("noted", extra={"job": [job.type, job.id]}), type_=type_)
    for type_ in ("note", "memo", "note"):
        kit.send({"type": type_, "data": {}})
    assert kit.work(kit.receive()) == {"messages": 3, "succeeded": 3}
    noted = [line for line in log() if line.get("message") == "noted"]
    assert sorted(line["type"] for line in noted) == ["memo", "note", "note"]
    assert all([line["type"], line["job_id"]] == line["job"] for line in noted)


def test_lines_of_job_without_handler_have_same_type_as_summary(kit: Kit, log: Log) -> None:
    ids = {kit.send({"type": "unheard_of", "data": {}}), kit.send("no JSON")}
    kit.sqs.refuse = {"SendMessage"}
    kit.work(kit.receive())
    lines = [line for line in log() if line.get("job_id") in ids]
    assert {(line["message"], line["job_id"], line["type"]) for line in lines} == {
        (message, id_, "unknown")
        for message in ("a dead job could not be sent to the dead-letter queue, and is retried", "job failed")
        for id_ in ids
    }


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"txet": 1}, "the job's data is not valid: Object contains unknown field `txet`; did you mean text?"),
        ('{"txet": 1}', "the job's data is not valid: Object contains unknown field `txet`; did you mean text?"),
    ],
)
def test_data_that_its_handler_cannot_take_is_dead_at_once(kit: Kit, data: Any, sentence: str) -> None:
    begun = handle(kit)
    job_id = kit.send({"type": "note", "data": data})
    assert kit.work(kit.receive()) == {"messages": 1, "dead": 1}
    assert (begun, kit.job(job_id).status, reasons(kit)) == ([], "dead", [sentence])


def test_a_handler_that_cannot_be_loaded_gives_up_its_own_jobs_only(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = handle(kit)

    def load(context: Context, type_: str) -> Handler:
        if type_ == "broken":
            raise ImportError("No module named 'pillow'")
        return kit.handlers.get(type_) or find_handler(context, type_)

    monkeypatch.setattr(kit, "_find", load)
    kit.send(MESSAGE)
    bad = kit.send({"type": "broken", "data": {}})
    kit.send(MESSAGE)
    assert kit.work(kit.receive()) == {"messages": 3, "succeeded": 2, "dead": 1}
    assert (len(begun), kit.job(bad).last_error) == (2, "ImportError: No module named 'pillow'")


@given(attempt=st.integers(1, 20), waits=st.lists(st.floats(1, 1e6), min_size=1, max_size=5).map(tuple))
def test_backoff_is_that_of_the_attempt_with_jitter(attempt: int, waits: tuple[float, ...]) -> None:
    handler = Handler(
        type="note",
        payload=Note,
        perform=lambda _context, _job: Counts(),
        max_attempts=3,
        backoff_seconds=waits,
        timeout_seconds=None,
    )
    expected = waits[attempt - 1] if attempt <= len(waits) else waits[-1]
    assert 0.8 * expected <= handler.backoff_after(attempt) <= 1.2 * expected


def test_jobs_that_fail_together_are_retried_apart(kit: Kit) -> None:
    fail(kit, ValueError("no"))
    for _ in range(10):
        kit.send(MESSAGE)
    kit.work(kit.receive())
    assert len({job.due_at for job in kit.jobs()}) > 1


@pytest.mark.parametrize("days", [0.7, 3])
def test_backoff_beyond_twelve_hours_is_left_to_dispatch(kit: Kit, days: float) -> None:
    begun = fail(kit, ValueError("no"), backoff_seconds=(days * 86_400,))
    job_id = kit.send(MESSAGE)
    assert kit.work(kit.receive()) == {"messages": 1, "failed": 1}
    row = kit.job(job_id)
    assert (left(kit), row.status, row.dispatch_at) == ([], "failed", row.due_at)
    kit.clock.advance((row.due_at - kit.clock.now_ms() - LOOKAHEAD_MS) / 1000 - 1)
    kit.dispatch()
    assert left(kit) == []
    kit.clock.advance(LOOKAHEAD_MS / 1000 + 1)
    kit.dispatch()
    kit.drain()
    assert [job.attempt for job in begun] == [1, 2]


def test_fresh_message_replaces_one_before_its_tenth_delivery(kit: Kit) -> None:
    begun = fail(kit, ValueError("no"), max_attempts=12, backoff_seconds=(60,))
    job_id = kit.send(MESSAGE)
    receives: list[int] = []
    for _ in range(60):
        kit.dispatch()
        for message in kit.receive():
            receives.append(int(message["Attributes"]["ApproximateReceiveCount"]))
            kit.work([message])
        kit.clock.advance(60)
    assert (len(begun), kit.job(job_id).status, kit.job(job_id).attempts) == (12, "dead", 12)
    assert max(receives) == MOST_RECEIVES
    # One letter, ours with its reason, and none that SQS moved.
    assert reasons(kit) == ["no"]


def test_jobs_not_begun_near_deadline_are_released_without_an_attempt(kit: Kit) -> None:
    def take_long(_job: Any) -> None:
        kit.clock.advance(21)

    begun = handle(kit, take_long)
    for n in range(5):
        kit.send({"type": "note", "data": {"text": n}})
    messages = kit.receive()
    assert kit.work(messages, seconds=60) is None
    assert len(begun) == 3
    assert left(kit) == [0, 0]
    handed_back = [job for job in kit.jobs() if job.status != "completed"]
    assert [(job.status, job.attempts, job.lease_until) for job in handed_back] == [("pending", 0, 0)] * 2
    # Should the message get lost, dispatch sends another.
    assert {job.dispatch_at for job in handed_back} == {kit.clock.now_ms() + BACKUP_MS}
    kit.drain()
    assert sorted(job.payload.text for job in begun) == list(range(5))
    assert [job.attempt for job in begun] == [1] * 5


def test_released_job_that_had_failed_is_failed_again(kit: Kit) -> None:
    fail(kit, ValueError("no"))
    job_id = kit.send(MESSAGE)
    kit.work(kit.receive())
    before = kit.job(job_id)
    kit.clock.advance(80)

    def take_long(_job: Any) -> None:
        kit.clock.advance(60)

    handle(kit, take_long)
    (again,) = kit.receive()
    kit.send(MESSAGE)
    kit.work([*kit.receive(), again], seconds=60)
    after = kit.job(job_id)
    assert (after.status, after.attempts, after.last_error) == ("failed", 1, before.last_error)


def test_invocation_without_time_releases_everything(kit: Kit) -> None:
    begun = handle(kit)
    for _ in range(3):
        kit.send(MESSAGE)
    assert kit.work(kit.receive(), seconds=9) is None
    assert (begun, left(kit), kit.jobs()) == ([], [0, 0, 0], [])


def test_job_longer_than_remaining_time_begins_only_if_first(kit: Kit) -> None:
    begun = handle(kit, timeout_seconds=120)
    for _ in range(3):
        kit.send(MESSAGE)
    # Each fresh invocation must begin one, or none would ever be begun.
    for expected in (1, 2, 3):
        kit.work(kit.receive(), seconds=100)
        assert len(begun) == expected
    assert set(statuses(kit).values()) == {"completed"}


def test_a_message_that_must_wait_waits_in_its_row_however_long(kit: Kit) -> None:
    begun = handle(kit)
    moment = NOON + timedelta(days=40)
    job_id = kit.send({**MESSAGE, "not_before": iso(moment)})
    assert kit.work(kit.receive()) == {"messages": 1, "skipped": 1}
    row = kit.job(job_id)
    assert (begun, left(kit), row.status, row.attempts) == ([], [], "pending", 0)
    assert row.due_at == row.dispatch_at == to_ms(moment)
    kit.clock.advance(40 * 86_400 - 60)
    kit.dispatch()
    assert left(kit) == [60]
    kit.clock.advance(60)
    kit.drain()
    assert [(job.id, job.attempt) for job in begun] == [(job_id, 1)]


def test_a_message_that_must_wait_for_seconds_is_on_the_queue_again_at_once(kit: Kit) -> None:
    begun = handle(kit)
    kit.send({**MESSAGE, "not_before": iso(NOON + timedelta(seconds=50))})
    kit.drain()
    assert (begun, left(kit)) == ([], [50])
    kit.clock.advance(50)
    kit.drain()
    assert (len(begun), left(kit)) == (1, [])


@pytest.mark.parametrize(("seconds", "is_over"), [(-1, True), (0, True), (1, False)])
def test_a_message_that_has_expired_is_closed_and_not_done(kit: Kit, seconds: int, is_over: bool) -> None:
    begun = handle(kit)
    job_id = kit.send({**MESSAGE, "expires_at": iso(NOON + timedelta(seconds=seconds))})
    kit.drain()
    row = kit.job(job_id)
    assert (bool(begun), row.status) == ((False, "expired") if is_over else (True, "completed"))
    assert (left(kit), kit.sqs.messages(DEAD), row.dispatch_at) == ([], [], None)


def test_a_job_that_expires_between_two_attempts_is_not_tried_again(kit: Kit) -> None:
    begun = fail(kit, ValueError("no"))
    job_id = kit.send({**MESSAGE, "expires_at": iso(NOON + timedelta(seconds=30))})
    kit.settle()
    assert (len(begun), kit.job(job_id).status, kit.job(job_id).last_error) == (1, "expired", "ValueError: no")
    kit.clock.advance(VISIBILITY_SECONDS)
    kit.drain()
    assert (left(kit), kit.sqs.messages(DEAD)) == ([], [])


def test_jobs_of_paused_type_are_performed_after_resume(kit: Kit) -> None:
    begun = handle(kit)
    other = handle(kit, type_="other")
    pause(kit)
    job_id = kit.send(MESSAGE)
    kit.send({"type": "other", "data": {}})
    assert kit.work(kit.receive()) == {"messages": 2, "skipped": 1, "succeeded": 1}
    row = kit.job(job_id)
    assert (begun, len(other), row.status, row.attempts) == ([], 1, "pending", 0)
    # Days may pass: no message is delivered ten times meanwhile.
    kit.clock.advance(20 * 86_400)
    kit.dispatch()
    assert left(kit) == []
    resume(kit)
    kit.dispatch()
    kit.drain()
    assert [job.attempt for job in begun] == [1]


def test_pause_does_not_stop_jobs_that_have_begun(kit: Kit) -> None:
    handle(kit, lambda _job: pause(kit))
    job_id = kit.send(MESSAGE)
    kit.drain()
    assert kit.job(job_id).status == "completed"


def test_rate_limit_postpones_further_jobs_to_their_turns(kit: Kit) -> None:
    starts: list[float] = []
    begin = kit.clock.now_ms()
    handle(kit, lambda _job: starts.append((kit.clock.now_ms() - begin) / 1000), rate=Rate(count=3, seconds=60))
    for _ in range(10):
        kit.send(MESSAGE)
    kit.settle(minutes=20)
    assert set(statuses(kit).values()) == {"completed"}
    # The kit works once a minute.
    assert [starts.count(60 * minute) for minute in range(4)] == [1, 3, 3, 3]
    assert {job.attempts for job in kit.jobs()} == {1}


def test_a_turn_under_a_rate_is_each_types_own_and_kept_when_a_copy_comes(kit: Kit) -> None:
    begun = handle(kit, rate=Rate(count=1, seconds=600))
    other = handle(kit, type_="other", rate=Rate(count=1, seconds=600))
    first, second = kit.send(MESSAGE), kit.send(MESSAGE)
    kit.send({"type": "other", "data": {}})
    kit.drain()
    assert (len(begun), len(other)) == (1, 1)
    (waiting,) = [job for job in kit.jobs() if job.status == "pending"]
    assert waiting.id in {first, second}
    assert waiting.slot_at == waiting.dispatch_at == kit.clock.now_ms() + 600_000
    kit.redeliver(waiting.id)
    kit.drain()
    assert kit.job(waiting.id).slot_at == waiting.slot_at
    third = kit.send(MESSAGE)
    kit.drain()
    assert kit.job(third).slot_at == kit.clock.now_ms() + 1_200_000


def test_next_attempt_takes_new_turn(kit: Kit) -> None:
    begun = fail(kit, ValueError("no"), rate=Rate(count=1, seconds=600), max_attempts=2, backoff_seconds=(60,))
    starts: list[float] = []
    for _ in range(2):
        kit.send(MESSAGE)
    for minute in range(60):
        kit.dispatch()
        kit.drain()
        starts += [minute] * (len(begun) - len(starts))
        kit.clock.advance(60)
    assert set(statuses(kit).values()) == {"dead"}
    # Two jobs, each of which took two turns.
    assert starts == [0, 10, 20, 30]


def test_the_priority_queues_worker_records_and_answers_on_its_own_queue(kit: Kit) -> None:
    def perform(job: Any) -> None:
        if job.payload.text == "bad":
            raise ValueError("no")

    handle(kit, perform)
    good, bad = (kit.send({"type": "note", "data": {"text": text}}, queue=PRIORITY) for text in ("good", "bad"))
    waiting = kit.send({**MESSAGE, "not_before": iso(NOON + timedelta(seconds=30))}, queue=PRIORITY)
    kit.work(kit.receive(queue=PRIORITY), queue=PRIORITY)
    assert {job.queue for job in kit.jobs()} == {"priority"}
    assert statuses(kit) == {good: "completed", bad: "failed", waiting: "pending"}
    assert left(kit) == []
    assert len(left(kit, queue=PRIORITY)) == 2
    kit.settle()
    assert statuses(kit) == {good: "completed", bad: "dead", waiting: "completed"}
    assert left(kit, queue=PRIORITY) == []


def move_back(kit: Kit) -> None:
    """Move all dead letters back as SQS does: with their attributes, and as messages of their own."""
    for held in kit.sqs.messages(DEAD):
        kit.sqs.send_message(QueueUrl=WORK, MessageBody=held.body, MessageAttributes=held.attributes)
    kit.sqs.messages(DEAD).clear()


def test_redriven_job_has_all_its_attempts_again(kit: Kit) -> None:
    fail(kit, ValueError("no"))
    job_id = kit.send(MESSAGE)
    kit.settle()
    assert kit.job(job_id).status == "dead"
    begun = handle(kit)
    move_back(kit)
    kit.drain()
    assert [(job.id, job.attempt, job.payload.text) for job in begun] == [(job_id, 1, "hello")]
    assert (kit.job(job_id).status, left(kit), kit.sqs.messages(DEAD)) == ("completed", [], [])


def test_redriven_job_that_dies_again_is_a_dead_letter_again(kit: Kit) -> None:
    begun = fail(kit, ValueError("no"), max_attempts=2)
    job_id = kit.send(MESSAGE)
    kit.settle()
    move_back(kit)
    kit.settle()
    assert [job.attempt for job in begun] == [1, 2, 1, 2]
    assert (kit.job(job_id).status, reasons(kit)) == ("dead", ["no"])


def test_copy_of_redriven_message_does_not_reopen_job_again(kit: Kit) -> None:
    begun = fail(kit, PermanentError("no"))
    job_id = kit.send(MESSAGE)
    kit.drain()
    move_back(kit)
    (message,) = kit.receive()
    kit.clock.advance(1)
    kit.work([message])
    assert (len(begun), kit.job(job_id).status) == (2, "dead")
    again = {**message, "Attributes": {**message["Attributes"], "ApproximateReceiveCount": "2"}}
    assert kit.work([again]) == {"messages": 1, "skipped": 1}
    assert (len(begun), kit.job(job_id).status) == (2, "dead")


def test_redriven_message_reopens_job_after_failed_first_claim(kit: Kit) -> None:
    begun = fail(kit, PermanentError("no"))
    job_id = kit.send(MESSAGE)
    kit.drain()
    move_back(kit)
    assert kit.work(kit.receive(), seconds=5) is None
    kit.drain()
    assert (len(begun), kit.job(job_id).status) == (2, "dead")


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.CANCELLED, Status.EXPIRED])
def test_redriven_message_of_finished_job_has_no_effect(kit: Kit, status: Status) -> None:
    begun = fail(kit, PermanentError("no"))
    job_id = kit.send(MESSAGE)
    kit.drain()
    change_job(kit, job_id, status=status)
    move_back(kit)
    kit.drain()
    assert (len(begun), kit.job(job_id).status, left(kit)) == (1, status, [])


def test_operators_edit_wins_over_message(kit: Kit) -> None:
    begun = handle(kit)
    other = handle(kit, type_="other")
    kit.send({**MESSAGE, "id": "data", "not_before": iso(NOON + timedelta(seconds=30))})
    kit.send({**MESSAGE, "id": "type", "not_before": iso(NOON + timedelta(seconds=30))})
    kit.drain()
    change_job(kit, "data", data='{"text": "mended"}')
    change_job(kit, "type", type="other")
    kit.clock.advance(30)
    kit.drain()
    assert [(job.id, job.payload.text) for job in begun] == [("data", "mended")]
    assert [(job.id, job.type) for job in other] == [("type", "other")]
    assert set(statuses(kit).values()) == {"completed"}


def test_row_with_invalid_data_is_dead_with_reason(kit: Kit) -> None:
    begun = handle(kit)
    job_id = kit.enqueue("note", {})
    change_job(kit, job_id, data="no JSON")
    kit.drain()
    assert (begun, kit.job(job_id).status) == ([], "dead")
    assert "the job's data is not valid: Expecting value" in kit.job(job_id).last_error


def test_a_row_with_a_time_that_never_comes_costs_its_neighbours_nothing(kit: Kit) -> None:
    begun = handle(kit)
    # Microseconds, where milliseconds belong.
    insert_job(kit, id="odd", due_at=10**18)
    kit.send(MESSAGE)
    kit.redeliver("odd")
    kit.send(MESSAGE)
    assert kit.work(kit.receive()) is None
    assert (len(begun), left(kit), kit.job("odd").status) == (2, [FIRST_WAIT_SECONDS], "pending")


def test_data_of_a_million_elements_arrives_through_s3(kit: Kit) -> None:
    sizes: list[tuple[int, int]] = []
    handle(kit, lambda job: sizes.append((len(job.payload.text), sum(job.payload.text))))
    body = json.dumps({"type": "note", "data": {"text": list(range(1_000_000))}}, separators=(",", ":"))
    kit.send(payloads(kit.context()).store(body))
    assert kit.work(kit.receive()) == {"messages": 1, "succeeded": 1}
    assert sizes == [(1_000_000, 499_999_500_000)]


@pytest.mark.parametrize("count", [700, 1500, 3000, 250_000])
def test_a_rate_of_more_than_a_thousand_a_second_counts_microseconds(kit: Kit, count: int) -> None:
    handle(kit, rate=Rate(count=count, seconds=1))
    for _ in range(30):
        kit.send(MESSAGE)
    kit.drain()
    with kit.context().database.begin() as connection:
        next_ms = connection.execute(select(rate_slots.c.next_at)).scalar_one()
    assert next_ms - kit.clock.now_ms() == pytest.approx(30 * 1000 / count, abs=30 * 0.001)
