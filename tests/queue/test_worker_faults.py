"""The worker when S3, SQS or the database fails: nothing is lost, and nothing that was done is done again."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pymysql
import pytest
from botocore.exceptions import EndpointConnectionError
from sqlalchemy import Connection, insert, make_url, text
from sqlalchemy.exc import OperationalError

from chalicelib.queue.job import Job
from chalicelib.queue.payloads import CLASSES
from chalicelib.queue.services import payloads
from chalicelib.queue.worker import FIRST_WAIT_SECONDS
from chalicelib.schema import rate_slots
from nightshift.local.environment import BUCKET
from nightshift.testkit.kit import DEAD, PRIORITY, Kit
from nightshift.testkit.memory import VISIBILITY_SECONDS
from tests.queue.samples import (
    Note,
    dead_letters,
    execute,
    fail,
    handle,
    left,
    listening,
    lock,
    rival,
    statuses,
    until_waiting,
)
from tests.servers import on_each_server

MESSAGE = {"type": "note", "data": {"text": "hello"}}
DEADLOCK, LOCK_WAIT, CANNOT_CONNECT, LOST = 1213, 1205, 2003, 2013


def refuse(**_: Any) -> dict[str, Any]:
    raise EndpointConnectionError(endpoint_url="https://s3.example")


@contextmanager
def refusing(kit: Kit, *operations: str) -> Iterator[None]:
    """Have SQS refuse these operations."""
    kit.sqs.refuse = set(operations)
    try:
        yield
    finally:
        kit.sqs.refuse = set()


def staying(kit: Kit) -> int:
    """Return how many messages come again after the seconds of a first failure, and not at once."""
    return left(kit).count(FIRST_WAIT_SECONDS)


def let_everything_come_again(kit: Kit) -> None:
    """Let each message that is left be delivered once more, and whatever waits be done."""
    kit.settle()
    kit.clock.advance(VISIBILITY_SECONDS)
    kit.settle()
    assert left(kit) == []


def test_a_body_that_s3_does_not_give_now_stays_on_the_queue_and_is_done_later(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = handle(kit)
    pointer = payloads(kit.context()).store(json.dumps({"type": "note", "data": {"text": "from s3"}}))
    kit.send(pointer)
    kit.send(MESSAGE)
    with monkeypatch.context() as patch:
        patch.setattr(kit.s3, "get_object", refuse)
        assert kit.work(kit.receive()) is None
    assert [job.payload.text for job in begun] == ["hello"]
    # No row: nobody could read what kind of job it is.
    assert list(statuses(kit).values()) == ["completed"]
    assert (left(kit), kit.sqs.messages(DEAD)) == ([FIRST_WAIT_SECONDS], [])
    kit.clock.advance(FIRST_WAIT_SECONDS)
    kit.drain()
    assert [job.payload.text for job in begun] == ["hello", "from s3"]


def test_a_body_that_s3_has_no_more_is_dead_at_once(kit: Kit) -> None:
    begun = handle(kit)
    pointer = json.dumps([CLASSES[0], {"s3BucketName": BUCKET, "s3Key": "payloads/gone"}])
    job_id = kit.send(pointer)
    kit.send(MESSAGE)
    assert kit.work(kit.receive()) == {"messages": 2, "dead": 1, "succeeded": 1}
    assert (len(begun), kit.job(job_id).type, kit.job(job_id).status) == (1, "invalid", "dead")
    assert dead_letters(kit) == [(json.loads(pointer), "the payload payloads/gone does not exist (any more)")]


def mixed(kit: Kit) -> list[Job[Note]]:
    """Put three good jobs and two that fail at first on the queue, and return the list of attempts that have begun."""

    def perform(job: Job[Note]) -> None:
        if job.payload.text == "bad" and job.attempt == 1:
            raise ValueError("no")

    begun = handle(kit, perform)
    for word in ("good", "bad", "good", "bad", "good"):
        kit.send({"type": "note", "data": {"text": word}})
    return begun


@pytest.mark.parametrize("operation", ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"])
def test_messages_that_sqs_does_not_delete_have_no_second_effect(kit: Kit, operation: str) -> None:
    begun = mixed(kit)
    messages = kit.receive()
    with refusing(kit, operation):
        # It fails, so the trigger keeps the batch, of whichever kind it is.
        assert kit.work(messages) is None
    assert len(left(kit)) == 5
    assert Counter(statuses(kit).values()) == {"completed": 3, "failed": 2}
    let_everything_come_again(kit)
    assert Counter(job.payload.text for job in begun) == {"good": 3, "bad": 4}
    assert (set(statuses(kit).values()), kit.sqs.messages(DEAD)) == ({"completed"}, [])


def test_dead_job_is_retried_until_dead_letter_queue_accepts_it(kit: Kit) -> None:
    begun = fail(kit, ValueError("the true reason"), max_attempts=1)
    job_id = kit.send(MESSAGE)
    with refusing(kit, "SendMessage"):
        assert kit.work(kit.receive()) is None
    row = kit.job(job_id)
    assert (row.status, row.last_error) == ("failed", "ValueError: the true reason")
    assert len(left(kit)) == 1
    let_everything_come_again(kit)
    assert (kit.job(job_id).status, len(begun)) == ("dead", 1)
    assert [reason for _, reason in dead_letters(kit)] == ["attempt 1 was the last: ValueError: the true reason"]


def test_unreadable_message_stays_until_dead_letter_queue_accepts_it(kit: Kit) -> None:
    job_id = kit.send("no JSON")
    with refusing(kit, "SendMessage"):
        assert kit.work(kit.receive()) is None
    assert (kit.job(job_id).status, len(left(kit))) == ("failed", 1)
    let_everything_come_again(kit)
    assert kit.job(job_id).status == "dead"
    ((body, reason),) = dead_letters(kit)
    assert body == "no JSON"
    assert "the message is not valid: Expecting value" in reason


def test_job_is_postponed_even_if_sqs_refuses_its_new_message(kit: Kit) -> None:
    begun = handle(kit)
    kit.send({**MESSAGE, "not_before": "2026-03-02T12:00:30Z"})
    with refusing(kit, "SendMessageBatch"):
        assert kit.work(kit.receive()) == {"messages": 1, "skipped": 1}
    assert left(kit) == []
    kit.settle()
    assert (len(begun), set(statuses(kit).values())) == (1, {"completed"})


@contextmanager
def gone(kit: Kit, code: int = CANNOT_CONNECT) -> Iterator[None]:
    """A database that answers nothing."""

    def fail_statement(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        raise OperationalError(statement, parameters, pymysql.err.OperationalError(code, "gone"))

    with listening(kit, "before_cursor_execute", fail_statement):
        yield


def test_messages_stay_while_database_is_down(kit: Kit) -> None:
    begun = mixed(kit)
    messages = kit.receive()
    with gone(kit):
        assert kit.work(messages) is None
    assert (begun, kit.jobs()) == ([], [])
    # It waited almost to its deadline, once and not for each message.
    assert 280 < sum(kit.clock.slept) < 290
    # Not at once: a database that is away would else use up their ten deliveries in a minute.
    assert staying(kit) == 5
    kit.clock.advance(FIRST_WAIT_SECONDS)
    let_everything_come_again(kit)
    assert set(statuses(kit).values()) == {"completed"}


def test_delay_grows_while_database_is_down(kit: Kit) -> None:
    handle(kit)
    kit.send(MESSAGE, queue=PRIORITY)
    waits: list[float] = []
    with gone(kit):
        for _ in range(9):
            assert kit.work(kit.receive(queue=PRIORITY), queue=PRIORITY) is None
            waits += left(kit, queue=PRIORITY)
            kit.clock.advance(waits[-1])
    assert waits == [10, 30, 90, 270, 810, 2430, 3600, 3600, 3600]
    kit.drain(queue=PRIORITY)
    assert list(statuses(kit).values()) == ["completed"]


def test_a_connection_that_each_claim_loses_is_tried_with_one_message_at_a_time(kit: Kit) -> None:
    # The server closes it on a statement longer than max_allowed_packet.
    def lose(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "TOO LONG" in str(parameters):
            raise OperationalError(statement, parameters, pymysql.err.OperationalError(LOST, "Lost connection"))

    begun = handle(kit)
    for word in ("short", "TOO LONG", "short"):
        kit.send({"type": "note", "data": {"text": word}})
    with listening(kit, "before_cursor_execute", lose):
        assert kit.work(kit.receive()) is None
    assert [job.payload.text for job in begun] == ["short", "short"]
    assert (staying(kit), left(kit)) == (1, [FIRST_WAIT_SECONDS])


@contextmanager
def short_packets(kit: Kit, most: int) -> Iterator[None]:
    """Have the server take no statement that is longer."""
    engine = kit.context().database.engine
    with rival(kit) as other:
        before = other.execute(text("SELECT @@GLOBAL.max_allowed_packet")).scalar_one()
        other.execute(text(f"SET GLOBAL max_allowed_packet = {most}"))
        engine.dispose()
        try:
            yield
        finally:
            other.execute(text(f"SET GLOBAL max_allowed_packet = {before}"))
            engine.dispose()


@on_each_server
@pytest.mark.parametrize("length", [200_000, 5_000_000], ids=["on SQS", "in the bucket"])
def test_message_longer_than_max_allowed_packet_takes_no_neighbour_along(kit: Kit, length: int) -> None:
    begun = handle(kit)
    long = json.dumps({"type": "note", "data": {"text": "x" * length}})
    kit.send(long if length < 262_144 else payloads(kit.context()).store(long))
    for n in range(5):
        kit.send({"type": "note", "data": {"text": n}})
    with short_packets(kit, length // 2 // 1024 * 1024):
        assert kit.work(kit.receive()) is None
    assert sorted(job.payload.text for job in begun) == [0, 1, 2, 3, 4]
    assert len(left(kit)) == 1
    kit.clock.advance(VISIBILITY_SECONDS)
    kit.drain()
    assert (len(begun), left(kit)) == (6, [])


def test_a_database_that_goes_away_in_mid_batch_loses_no_message_and_its_jobs_are_done_in_the_end(kit: Kit) -> None:
    cut = gone(kit)

    def perform(job: Job[Note]) -> None:
        if job.payload.text == 2:
            cut.__enter__()

    begun = handle(kit, perform)
    for n in range(5):
        kit.send({"type": "note", "data": {"text": n}})
    assert kit.work(kit.receive()) is None
    cut.__exit__(None, None, None)
    # Of those before it, some may have been recorded already.
    assert len(left(kit)) + Counter(statuses(kit).values())["completed"] == 5
    # None comes again before its lease is over, when it would find itself held.
    assert len(left(kit)) >= 3
    assert min(left(kit)) >= 60
    handle(kit)
    let_everything_come_again(kit)
    assert set(statuses(kit).values()) == {"completed"}
    assert {job.attempts for job in kit.jobs()} == {1}
    # Those that began after it went away had their effect, and it could not be recorded.
    assert [job.payload.text for job in begun] == [0, 1, 2, 3, 4]


def test_postponed_jobs_do_not_block_recording_when_database_fails(kit: Kit) -> None:
    begun = handle(kit)

    def fail_dispatch(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "dispatch_at <=" in statement:
            raise OperationalError(statement, parameters, pymysql.err.OperationalError(LOST, "Lost connection"))

    kit.send(MESSAGE)
    waiting = kit.send({**MESSAGE, "not_before": "2026-03-02T12:00:30Z"})
    with listening(kit, "before_cursor_execute", fail_dispatch):
        assert kit.work(kit.receive()) == {"messages": 2, "skipped": 1, "succeeded": 1}
    assert Counter(statuses(kit).values()) == {"completed": 1, "pending": 1}
    kit.settle()
    assert (kit.job(waiting).status, len(begun)) == ("completed", 2)


@pytest.mark.parametrize("code", [DEADLOCK, LOCK_WAIT, LOST])
@pytest.mark.parametrize("beginning", ["INSERT INTO jobs", "UPDATE jobs"], ids=["claim", "record"])
def test_a_statement_that_fails_in_passing_is_repeated_and_the_job_is_done_once(
    kit: Kit, beginning: str, code: int
) -> None:
    failures: list[str] = []

    def fail_once(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(beginning) and not failures:
            failures.append(statement)
            raise OperationalError(statement, parameters, pymysql.err.OperationalError(code, "in passing"))

    begun = handle(kit)
    job_id = kit.send(MESSAGE)
    with listening(kit, "before_cursor_execute", fail_once):
        assert kit.work(kit.receive()) == {"messages": 1, "succeeded": 1}
    assert (len(failures), len(begun), kit.job(job_id).status) == (1, 1, "completed")


@on_each_server
@pytest.mark.parametrize("nth", [1, 2], ids=["claim", "record"])
def test_a_commit_whose_answer_is_lost_does_a_job_once(kit: Kit, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    dialect = kit.context().database.engine.dialect
    commit, commits = dialect.do_commit, 0

    def lose_answer(connection: Any) -> None:
        nonlocal commits
        commit(connection)
        commits += 1
        if commits == nth:
            raise pymysql.err.OperationalError(LOST, "Lost connection")

    begun = handle(kit)
    job_id = kit.send(MESSAGE)
    with monkeypatch.context() as patch:
        patch.setattr(dialect, "do_commit", lose_answer)
        kit.work(kit.receive())
    assert commits >= nth
    kit.settle()
    kit.clock.advance(VISIBILITY_SECONDS)
    kit.drain()
    assert (len(begun), kit.job(job_id).status, kit.job(job_id).attempts) == (1, "completed", 1)


@on_each_server
def test_a_connection_that_the_server_closes_in_mid_batch_is_made_again(kit: Kit) -> None:
    connection_ids: list[int] = []

    def note_id(connection: Any, _record: Any, _proxy: Any) -> None:
        connection_ids.append(connection.thread_id())

    with rival(kit) as other:

        def perform(job: Job[Note]) -> None:
            if job.payload.text == "bad" and job.attempt == 1:
                other.execute(text(f"KILL {connection_ids[-1]}"))

        begun = handle(kit, perform)
        for word in ("good", "bad", "good"):
            kit.send({"type": "note", "data": {"text": word}})
        with listening(kit, "checkout", note_id):
            assert kit.work(kit.receive()) == {"messages": 3, "succeeded": 3}
    assert (len(begun), set(statuses(kit).values())) == (3, {"completed"})


@contextmanager
def impatient(kit: Kit) -> Iterator[Connection]:
    """Another process's connection, while ours waits for no lock."""
    engine = kit.context().database.engine
    with rival(kit) as other:
        other.execute(text("SET GLOBAL innodb_lock_wait_timeout = 0"))
        engine.dispose()
        try:
            yield other
        finally:
            other.rollback()
            other.execute(text("SET GLOBAL innodb_lock_wait_timeout = 50"))
            engine.dispose()


@on_each_server
def test_locked_row_is_unchanged_and_its_message_stays(kit: Kit) -> None:
    begun = handle(kit)
    job_id = kit.enqueue("note", {})
    messages = kit.receive()
    with impatient(kit) as other:
        lock(other, job_id)
        assert kit.work(messages) is None
    assert (begun, kit.job(job_id).status, staying(kit)) == ([], "pending", 1)
    let_everything_come_again(kit)
    kit.clock.advance(VISIBILITY_SECONDS)
    kit.drain()
    assert (len(begun), kit.job(job_id).status) == (1, "completed")


@on_each_server
def test_worker_waits_for_released_lock(kit: Kit) -> None:
    begun = handle(kit)
    job_id = kit.enqueue("note", {})
    messages = kit.receive()
    with impatient(kit) as other:
        lock(other, job_id)

        def let_go(_context: Any) -> None:
            other.rollback()

        with listening(kit, "handle_error", let_go):
            assert kit.work(messages) == {"messages": 1, "succeeded": 1}
    assert (len(begun), kit.job(job_id).status) == (1, "completed")


@on_each_server
def test_a_deadlock_with_another_process_is_resolved_and_each_job_is_done_once(kit: Kit) -> None:
    begun = handle(kit)
    ids = sorted(kit.enqueue("note", {}) for _ in range(2))
    messages = kit.receive()
    codes: list[int] = []

    def note_code(context: Any) -> None:
        codes.append(context.original_exception.args[0])

    with rival(kit) as other, rival(kit) as watcher:
        # Heavier than ours, so that the server chooses ours as the victim.
        other.execute(insert(rate_slots), [{"type": f"t{n}", "next_at": 0} for n in range(200)])
        lock(other, ids[1])

        def reach_across() -> None:
            until_waiting(watcher)
            lock(other, ids[0])
            other.rollback()

        thread = Thread(target=reach_across)
        thread.start()
        with listening(kit, "handle_error", note_code):
            assert kit.work(messages) == {"messages": 2, "succeeded": 2}
        thread.join()
    assert codes == [DEADLOCK]
    assert sorted(job.id for job in begun) == ids


@contextmanager
def read_only(kit: Kit) -> Iterator[None]:
    with rival(kit) as other:
        other.execute(text("SET GLOBAL read_only = 1"))
        try:
            yield
        finally:
            other.execute(text("SET GLOBAL read_only = 0"))


@on_each_server
def test_a_server_that_became_read_only_costs_no_job_an_attempt(database_url: str) -> None:
    root = Kit(database_url)
    # Not root, whom a read-only server still lets write.
    execute(root, "DROP USER IF EXISTS worker@localhost")
    execute(root, "CREATE USER worker@localhost IDENTIFIED BY 'w'")
    execute(root, "GRANT ALL ON nightshift.* TO worker@localhost")
    url = make_url(database_url).set(username="worker", password="w").render_as_string(hide_password=False)
    kit = Kit(url)
    begun = handle(kit)
    job_id = kit.enqueue("note", {})
    kit.send(MESSAGE)
    messages = kit.receive()
    with read_only(root):
        assert kit.work(messages) is None
    assert (begun, statuses(kit), staying(kit)) == ([], {job_id: "pending"}, 2)
    kit.clock.advance(VISIBILITY_SECONDS)
    kit.drain()
    assert (len(begun), {(job.status, job.attempts) for job in kit.jobs()}) == (2, {("completed", 1)})


@on_each_server
def test_data_that_database_refuses_does_not_affect_other_jobs(kit: Kit) -> None:
    begun = handle(kit)
    kit.send(MESSAGE)
    # A column that somebody made shorter than a message may be.
    execute(kit, "ALTER TABLE jobs MODIFY data TEXT NOT NULL")
    try:
        kit.send({"type": "note", "data": {"text": "x" * 65_535}})
        kit.send(MESSAGE)
        assert kit.work(kit.receive()) is None
    finally:
        execute(kit, "ALTER TABLE jobs MODIFY data MEDIUMTEXT NOT NULL")
    assert (len(begun), staying(kit)) == (2, 1)
    kit.clock.advance(VISIBILITY_SECONDS)
    kit.drain()
    assert (len(begun), left(kit)) == (3, [])


def test_what_an_error_says_that_the_database_cannot_hold_is_recorded_as_far_as_it_can(kit: Kit) -> None:
    fail(kit, OSError("no file \udce9"), max_attempts=1)
    job_id = kit.enqueue("note", {"text": 1})
    kit.drain()
    row = kit.job(job_id)
    assert (row.status, row.last_error) == ("dead", r"OSError: no file \udce9")
