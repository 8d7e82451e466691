"""Enqueueing: a job exists when what it belongs to does, once for its key, and what no worker could read is refused."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from chalicelib.application import sessions
from chalicelib.core.clock import from_ms, to_ms
from chalicelib.core.errors import InvalidRequestError
from chalicelib.queue import outbox
from chalicelib.queue.dispatch import LOOKAHEAD_MS
from chalicelib.queue.job import Job
from chalicelib.queue.outbox import enqueue, enqueue_many
from chalicelib.queue.payloads import MAX_BYTES
from nightshift.testkit.kit import NOON, PRIORITY, WORK, Kit
from tests.queue.samples import (
    dead_letters,
    execute,
    handle,
    insert_job,
    left,
    listening,
    rival,
    statuses,
    until_waiting,
)
from tests.servers import on_each_server

USER = {"id": "u1", "user_id": "u", "created_at": 0, "updated_at": 0}


def in_transaction(kit: Kit, work: Callable[[Connection], Any]) -> Any:
    """Do the work in a transaction whose jobs are sent when it has committed."""
    context = kit.context()
    with outbox.transaction(context) as connection:
        return work(connection)


def put(kit: Kit, *new: Job[Any]) -> list[str]:
    """Enqueue jobs in one transaction, on the kit's clock."""
    ids: list[str] = in_transaction(kit, lambda connection: enqueue_many(connection, new, clock=kit.clock))
    return ids


def note(text: object = None, **options: Any) -> Job[Any]:
    return Job(type="note", payload={} if text is None else {"text": text}, **options)


def bodies(kit: Kit, *, queue: str = WORK) -> list[dict[str, Any]]:
    return [json.loads(held.body) for held in kit.sqs.messages(queue)]


def test_a_job_is_sent_when_its_transaction_has_committed_and_not_before(kit: Kit) -> None:
    def work(connection: Connection) -> str:
        connection.execute(insert(sessions).values(USER))
        job_id = enqueue(connection, "note", {"text": "hello"})
        assert kit.sqs.messages(WORK) == []
        return job_id

    job_id = in_transaction(kit, work)
    assert bodies(kit) == [{"type": "note", "data": {"text": "hello"}, "id": job_id}]
    begun = handle(kit)
    kit.drain()
    assert [(job.id, job.payload.text) for job in begun] == [(job_id, "hello")]
    assert kit.job(job_id).status == "completed"


def test_a_job_is_rolled_back_with_its_transaction(kit: Kit) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(sessions).values(USER))
        enqueue(connection, "note", {})
        connection.execute(insert(sessions).values(USER))

    with pytest.raises(IntegrityError):
        in_transaction(kit, work)
    kit.dispatch()
    assert (kit.jobs(), kit.sqs.messages(WORK)) == ([], [])


def test_job_of_rolled_back_savepoint_is_not_sent(kit: Kit) -> None:
    def work(connection: Connection) -> tuple[str, str]:
        kept = enqueue(connection, "note", {})
        savepoint = connection.begin_nested()
        gone = enqueue(connection, "note", {})
        savepoint.rollback()
        return kept, gone

    kept, gone = in_transaction(kit, work)
    assert kept != gone
    assert [body["id"] for body in bodies(kit)] == [kept]
    assert list(statuses(kit)) == [kept]


def test_the_next_transaction_on_the_same_connection_sends_only_its_own(kit: Kit) -> None:
    with pytest.raises(ZeroDivisionError):
        in_transaction(kit, lambda connection: (enqueue(connection, "note", {}), 1 / 0))
    (job_id,) = put(kit, note())
    with kit.context().database.begin() as connection:
        later = enqueue(connection, "note", {})
    # One of an ordinary transaction is sent by dispatch.
    assert [body["id"] for body in bodies(kit)] == [job_id]
    kit.dispatch()
    assert [body["id"] for body in bodies(kit)] == [job_id, later]


def test_job_that_sqs_refuses_is_committed_and_dispatched_later(kit: Kit) -> None:
    kit.sqs.refuse = {"SendMessageBatch"}
    (job_id,) = put(kit, note())
    assert kit.sqs.messages(WORK) == []
    assert kit.job(job_id).status == "pending"
    kit.sqs.refuse = set()
    kit.dispatch()
    assert [body["id"] for body in bodies(kit)] == [job_id]


def test_a_database_that_goes_away_after_the_commit_is_not_taken_for_a_failure_of_the_transaction(kit: Kit) -> None:
    has_committed = False

    def note_commit(_connection: Connection) -> None:
        nonlocal has_committed
        has_committed = True

    def refuse(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if has_committed:
            raise OperationalError(statement, None, Exception("gone"))

    with listening(kit, "commit", note_commit), listening(kit, "before_cursor_execute", refuse):
        (job_id,) = put(kit, note())
    assert (kit.job(job_id).status, kit.sqs.messages(WORK)) == ("pending", [])
    kit.dispatch()
    assert [body["id"] for body in bodies(kit)] == [job_id]


def test_every_option_arrives(kit: Kit) -> None:
    begun = handle(kit)
    new = Job(
        id="my-own-id",
        type="note",
        payload={"text": "x"},
        expires_at=NOON + timedelta(hours=1),
        idempotency_key="key",
        unique_for=60,
        tags=("a", "b"),
        source="billing",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        queue="priority",
    )
    assert put(kit, new) == ["my-own-id"]
    assert kit.sqs.messages(WORK) == []
    kit.drain(queue=PRIORITY)
    (job,) = begun
    assert (job.id, job.tags, job.source, job.traceparent) == ("my-own-id", ("a", "b"), "billing", new.traceparent)
    row = kit.job("my-own-id")
    assert (row.queue, row.idempotency_key, row.expires_at) == ("priority", "key", to_ms(NOON) + 3_600_000)
    assert row.unique_until == to_ms(NOON) + 60_000


def test_ids_are_distinct_and_come_in_the_order_of_the_jobs(kit: Kit) -> None:
    ids = put(kit, *(note(n) for n in range(25)))
    assert len(set(ids)) == 25
    assert [json.loads(kit.job(id_).data)["text"] for id_ in ids] == list(range(25))
    assert sorted(body["id"] for body in bodies(kit)) == sorted(ids)


def test_an_id_that_another_job_has_is_an_error_and_leaves_nothing(kit: Kit) -> None:
    put(kit, note(1, id="same"))
    with pytest.raises(IntegrityError):
        put(kit, note(2), note(3, id="same"))
    assert [json.loads(job.data) for job in kit.jobs()] == [{"text": 1}]


def test_same_key_in_one_transaction_is_same_job(kit: Kit) -> None:
    first, other, second = put(
        kit, note(1, idempotency_key="k"), note(2, idempotency_key="other"), note(3, idempotency_key="k")
    )
    assert first == second != other
    assert sorted(json.loads(job.data)["text"] for job in kit.jobs()) == [1, 2]
    assert sorted(body["id"] for body in bodies(kit)) == sorted([first, other])


def test_same_key_in_later_transaction_is_same_job(kit: Kit) -> None:
    begun = handle(kit)
    (first,) = put(kit, note(1, idempotency_key="k"))
    kit.drain()
    kit.clock.advance(86_400)
    assert put(kit, note(2, idempotency_key="k")) == [first]
    kit.settle(minutes=5)
    assert [job.payload.text for job in begun] == [1]


def test_a_key_belongs_to_a_type_and_is_compared_to_the_letter(kit: Kit) -> None:
    handle(kit, type_="other")
    keys = ["k", "K", "k ", "ｋ", "ḱ", "k" * 255]
    ids = put(kit, *(note(idempotency_key=key) for key in keys), Job(type="other", payload={}, idempotency_key="k"))
    assert len(set(ids)) == len(keys) + 1


def test_a_key_with_a_period_is_free_again_when_it_is_over(kit: Kit) -> None:
    (first,) = put(kit, note(idempotency_key="k", unique_for=60))
    kit.clock.advance(59.9)
    assert put(kit, note(idempotency_key="k")) == [first]
    kit.clock.advance(0.1)
    (second,) = put(kit, note(idempotency_key="k"))
    assert second != first
    assert sorted(statuses(kit)) == sorted([first, second])
    # The second has no period, and so does not let go.
    kit.clock.advance(10 * 365 * 86_400)
    assert put(kit, note(idempotency_key="k", unique_for=60)) == [second]


def test_a_message_with_the_key_of_a_job_is_acknowledged_and_not_done(kit: Kit) -> None:
    begun = handle(kit)
    (first,) = put(kit, note(1, idempotency_key="k"))
    kit.send({"type": "note", "data": {"text": 2}, "idempotency_key": "k"})
    kit.drain()
    assert [job.payload.text for job in begun] == [1]
    assert (list(statuses(kit)), left(kit)) == ([first], [])


def test_a_job_with_the_key_of_a_message_is_that_one(kit: Kit) -> None:
    begun = handle(kit)
    message_id = kit.send({"type": "note", "data": {"text": 1}, "idempotency_key": "k", "unique_for": 60})
    kit.drain()
    assert put(kit, note(2, idempotency_key="k")) == [message_id]
    kit.drain()
    kit.clock.advance(60)
    (second,) = put(kit, note(3, idempotency_key="k"))
    kit.drain()
    assert second != message_id
    assert [job.payload.text for job in begun] == [1, 3]


def test_two_messages_with_one_key_in_one_batch_are_one_job(kit: Kit) -> None:
    begun = handle(kit)
    for n in range(2):
        kit.send({"type": "note", "data": {"text": n}, "idempotency_key": "k"})
    kit.work(kit.receive())
    assert [job.payload.text for job in begun] == [0]
    assert len(kit.jobs()) == 1
    assert left(kit) == []


@on_each_server
def test_two_transactions_with_one_key_at_once_enqueue_one_job(kit: Kit) -> None:
    found: list[str] = []
    with rival(kit) as connection:
        first = enqueue_many(connection, [note(1, idempotency_key="k")], clock=kit.clock)
        other = Thread(target=lambda: found.extend(put(kit, note(2, idempotency_key="k"))))
        other.start()
        # It waits for the key, which is ours until we commit.
        until_waiting(connection)
        connection.commit()
        other.join()
    assert found == first
    assert [json.loads(job.data) for job in kit.jobs()] == [{"text": 1}]


def test_thousands_of_jobs_with_and_without_keys_are_enqueued_in_a_few_statements(kit: Kit) -> None:
    kit.sqs.refuse = {"SendMessageBatch"}
    (taken,) = put(kit, note("taken", idempotency_key="7"))
    statements: list[str] = []

    def note_down(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    # Every second one has a key, and each key comes twice.
    new = [note(n, idempotency_key=str(n // 4) if n % 2 else None) for n in range(2500)]
    with (
        listening(kit, "before_cursor_execute", note_down),
        kit.context().database.begin() as connection,
    ):
        ids = enqueue_many(connection, new, clock=kit.clock)
    assert len(statements) < 20
    by_key: dict[str, set[str]] = {}
    for job, id_ in zip(new, ids, strict=True):
        if job.idempotency_key:
            by_key.setdefault(job.idempotency_key, set()).add(id_)
    assert by_key.pop("7") == {taken}
    assert {len(holders) for holders in by_key.values()} == {1}
    rows = {job.id: json.loads(job.data)["text"] for job in kit.jobs()}
    assert len(rows) == 1 + 1250 + 624
    # Of two with one key the first was enqueued, and each without a key is itself.
    assert all(rows[id_] == n - (2 if n % 4 == 3 else 0) for n, id_ in enumerate(ids) if id_ != taken)


REFUSED: list[tuple[Callable[[], Job[Any]], str]] = [
    (lambda: note(float("nan")), "the message is not valid: NaN is not a number in JSON"),
    (lambda: note(float("inf")), "the message is not valid: Infinity is not a number in JSON"),
    (lambda: note("\ud800"), "the message is not valid: "),
    (lambda: note({"\ud800": 1}), "the message is not valid: "),
    (lambda: note(2**63), "the message is not valid: the integer 9223372036854775808 does not fit into 64 bits"),
    (lambda: note({1: 2}), "the message is not valid: it holds what JSON would change"),
    (lambda: note((1, 2)), "the message is not valid: it holds what JSON would change"),
    (lambda: note({1, 2}), "the message is not valid: Object of type set is not JSON serializable"),
    (lambda: note(b"bytes"), "the message is not valid: Object of type bytes is not JSON serializable"),
    (lambda: note(NOON), "the message is not valid: Object of type datetime is not JSON serializable"),
    (lambda: note("x" * MAX_BYTES), rf"the message has 73\d+ bytes, and {MAX_BYTES} are allowed"),
    (lambda: note("я" * (MAX_BYTES // 6)), rf"the message has 73\d+ bytes, and {MAX_BYTES} are allowed"),
    (lambda: Job(type="Note", payload={}), r"the message is not valid: Expected `str` matching regex .*`\$\.type`"),
    (lambda: Job(type="", payload={}), r"the message is not valid: Expected `str` matching regex .*`\$\.type`"),
    (lambda: Job(type="a" * 65, payload={}), r"the message is not valid: Expected `str` matching regex .*`\$\.type`"),
    (lambda: note(id="with space"), r"the message is not valid: Expected `str` matching regex .*`\$\.id`"),
    (lambda: note(id="x" * 37), r"the message is not valid: Expected `str` matching regex .*`\$\.id`"),
    (
        lambda: note(run_at=NOON.replace(tzinfo=None)),
        "the message is not valid: not_before must be a moment with a zone",
    ),
    (
        lambda: note(expires_at=NOON.replace(tzinfo=None)),
        "the message is not valid: expires_at must be a moment with a zo",
    ),
    (
        lambda: note(run_at="2026-12-01T09:00:00Z"),
        "the message is not valid: not_before must be a datetime with a zone, and not '2026-12-01T09:00:00Z'",
    ),
    (
        lambda: note(run_at=NOON.date()),
        r"the message is not valid: not_before must be a datetime with a zone, and not datetime\.date\(2026, 3, 2\)",
    ),
    (lambda: note(expires_at=1_772_452_800), "the message is not valid: expires_at must be a datetime with"),
    (lambda: note(run_at=NOON, expires_at=NOON), "the message is not valid: expires_at must be later than not_before"),
    (
        lambda: note(unique_for=60),
        "the message is not valid: unique_for needs an idempotency_key; send both",
    ),
    (lambda: note(idempotency_key="k", unique_for=0), r"the message is not valid: Expected `int` >= 1"),
    (lambda: note(idempotency_key=""), "the message is not valid: Expected `str` of length >= 1"),
    (lambda: note(idempotency_key="k" * 256), "the message is not valid: Expected `str` of length <= 255"),
    (lambda: note(tags=["t"] * 17), "the message is not valid: Expected `array` of length <= 16"),
    (lambda: note(tags=[""]), "the message is not valid: Expected `str` of length >= 1"),
]


@pytest.mark.parametrize(("make", "sentence"), REFUSED, ids=lambda value: value[-40:] if isinstance(value, str) else "")
def test_invalid_job_is_refused_and_inserts_nothing(kit: Kit, make: Callable[[], Job[Any]], sentence: str) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(sessions).values(USER))
        enqueue_many(connection, [note("good"), make(), note("good")], clock=kit.clock)

    with pytest.raises(InvalidRequestError, match=sentence) as caught:
        in_transaction(kit, work)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert (kit.jobs(), kit.sqs.messages(WORK)) == ([], [])


def test_a_refusal_that_is_caught_leaves_the_transaction_as_it_was(kit: Kit) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(sessions).values(USER))
        with pytest.raises(InvalidRequestError):
            enqueue_many(connection, [note("good"), note(float("nan"))])

    in_transaction(kit, work)
    found = kit.context().database.transact(
        lambda connection: connection.execute(select(sessions.c.id)).scalars().all()
    )
    assert (found, kit.jobs()) == (["u1"], [])


def test_a_job_of_a_far_day_waits_in_its_row_until_then(kit: Kit) -> None:
    begun = handle(kit)
    day = NOON + timedelta(days=100)
    (job_id,) = put(kit, note(run_at=day))
    kit.dispatch()
    assert kit.sqs.messages(WORK) == []
    kit.clock.advance(100 * 86_400 - LOOKAHEAD_MS / 1000 - 1)
    kit.dispatch()
    assert kit.sqs.messages(WORK) == []
    kit.clock.advance(60)
    kit.dispatch()
    # It is on the queue, and comes at its second.
    (seconds,) = left(kit)
    assert from_ms(kit.clock.now_ms()) + timedelta(seconds=seconds) == day
    kit.drain()
    assert begun == []
    kit.clock.advance(seconds)
    kit.drain()
    assert [job.id for job in begun] == [job_id]


def test_a_job_that_is_due_within_the_minute_is_on_the_queue_at_once_and_comes_in_its_time(kit: Kit) -> None:
    put(kit, note(run_at=NOON + timedelta(seconds=42)), note(run_at=NOON - timedelta(days=1)))
    assert sorted(left(kit)) == [0, 42]


def test_a_row_of_an_old_producer_is_done(kit: Kit) -> None:
    begun = handle(kit)
    insert_sql = text("INSERT INTO jobs (id, type, data, status, created_at) VALUES (:id, :type, :data, :status, :at)")
    data = '{ "text" : "ä🙂\\u0041" }'
    execute(kit, insert_sql, {"id": "old", "type": "note", "data": data, "status": "pending", "at": 1})
    kit.dispatch()
    kit.drain()
    assert [(job.id, job.attempt, job.payload.text) for job in begun] == [("old", 1, "ä🙂A")]
    row = kit.job("old")
    assert (row.status, row.attempts, row.completed_at, row.data) == ("completed", 1, kit.clock.now_ms(), data)


@pytest.mark.parametrize(
    "data",
    [
        '{"text": 1.50e1}',
        ' {"text":\t[ ] }\n',
        '{"text": "\\ud83d\\ude42"}',
        '{"text": -0.0}',
        '{"text": "' + "x" * 300_000 + '"}',
        '{"text": ' + "[" * 62 + "]" * 62 + "}",
    ],
    ids=lambda data: data[:20],
)
def test_odd_json_in_a_row_reaches_the_handler_as_json_means_it(kit: Kit, data: str) -> None:
    begun = handle(kit)
    insert_job(kit, id="odd", data=data)
    kit.dispatch()
    kit.drain()
    assert [job.payload.text for job in begun] == [json.loads(data)["text"]]


HOPELESS: dict[str, tuple[dict[str, Any], str]] = {
    "no JSON": ({"data": "hello"}, "the job's data is not valid: Expecting value"),
    "nothing": ({"data": ""}, "the job's data is not valid: Expecting value"),
    "cut off": ({"data": '{"text": "a'}, "the job's data is not valid: Unterminated string"),
    "a list": ({"data": "[1]"}, "the job's data is not valid: Expected `object`, got `array`"),
    "a string": ({"data": '"text"'}, "the job's data is not valid: Expected `object`, got `str`"),
    "null": ({"data": "null"}, "the job's data is not valid: Expected `object`, got `null`"),
    "a key twice": ({"data": '{"a": 1, "a": 2}'}, "the job's data is not valid: the key 'a' comes twice"),
    "NaN": ({"data": '{"a": NaN}'}, "the job's data is not valid: NaN is not a number in JSON"),
    "too deep": ({"data": '{"a":' + "[" * 64 + "]" * 64 + "}"}, "the job's data is not valid: it nests more"),
    "too long": (
        {"data": '{"a": "' + "x" * MAX_BYTES + '"}'},
        rf"the job's data has 73\d+ bytes, and {MAX_BYTES} are allowed",
    ),
    "type": ({"type": "Send Mail"}, r"the message is not valid: Expected `str` matching regex .*`\$\.type`"),
    "id": ({"id": "with space"}, r"the message is not valid: Expected `str` matching regex .*`\$\.id`"),
    "microseconds": ({"expires_at": 1_772_452_800_000_000}, "the job's row is not valid: year .*58136"),
    "envelope": ({"envelope": "{"}, "the job's row is not valid: Input data was truncated"),
    "tags": ({"envelope": '{"tags": 1}'}, "the job's row is not valid: 'int' object is not iterable"),
}


@pytest.mark.parametrize("what", HOPELESS)
def test_row_that_is_no_valid_message_is_dead_and_others_are_sent(kit: Kit, what: str) -> None:
    begun = handle(kit)
    values, sentence = HOPELESS[what]
    insert_job(kit, id="a", data='{"text": 1}')
    bad = insert_job(kit, **{"id": "bad", **values})
    insert_job(kit, id="z", data='{"text": 2}')
    summary = kit.dispatch()
    assert (summary["total"], summary["succeeded"], summary["failed"]) == (3, 2, 1)
    kit.drain()
    assert sorted(job.payload.text for job in begun) == [1, 2]
    row = kit.job(bad)
    assert (row.status, row.dispatch_at, row.ended_at) == ("dead", None, kit.clock.now_ms())
    ((body, reason),) = dead_letters(kit)
    assert isinstance(body, dict)
    assert (body["type"], body["id"]) == (row.type, bad)
    assert reason == row.last_error[:1000]
    assert re.match(sentence, reason)


@pytest.mark.parametrize("database_url", ["mysql"], indirect=True)
def test_the_id_of_a_key_that_a_snapshot_does_not_show_is_that_of_the_job_that_has_it(kit: Kit) -> None:
    engine = create_engine(kit.context().database.engine.url, isolation_level="REPEATABLE READ")
    with engine.begin() as connection:
        connection.execute(select(sessions)).all()
        (holder,) = put(kit, note(idempotency_key="k"))
        assert enqueue(connection, "note", {}, idempotency_key="k") == holder
    engine.dispose()
    assert list(statuses(kit)) == [holder]


def test_a_connection_that_commits_each_statement_is_refused(kit: Kit) -> None:
    with (
        kit.context().database.engine.begin() as connection,
        pytest.raises(InvalidRequestError, match="commits each statement by itself"),
    ):
        enqueue(connection, "note", {})
    assert kit.jobs() == []


@on_each_server
def test_an_autocommitting_engine_of_the_applications_own_is_refused(kit: Kit) -> None:
    engine = create_engine(kit.context().database.engine.url, isolation_level="AUTOCOMMIT")
    with engine.begin() as connection, pytest.raises(InvalidRequestError, match="commits each statement by itself"):
        enqueue(connection, "note", {})
    engine.dispose()


def test_with_an_engine_of_the_applications_own_a_rollback_takes_the_job_too(kit: Kit) -> None:
    engine = create_engine(kit.context().database.engine.url)
    with engine.connect() as connection:
        enqueue(connection, "note", {})
        connection.rollback()
        kept = enqueue(connection, "note", {})
        connection.commit()
    engine.dispose()
    assert list(statuses(kit)) == [kept]
