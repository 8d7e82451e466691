"""Dispatch: what is due goes to its queue, once however many dispatch, and what is over is closed and cleared away."""

import json
from collections import Counter
from collections.abc import Callable
from random import Random
from threading import Barrier, Lock, Thread
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, update

from chalicelib.core.clock import from_ms
from chalicelib.core.config import QueueSettings
from chalicelib.core.database import Database
from chalicelib.core.errors import RunFailedError
from chalicelib.core.outcome import Outcome
from chalicelib.queue import dispatch
from chalicelib.queue.dispatch import LOOKAHEAD_MS, LOST_AFTER_MS, PRUNE_CHUNK
from chalicelib.queue.job import OVER, TAKEN, WAITING, Job, Status
from chalicelib.queue.outbox import enqueue_many
from chalicelib.queue.payloads import LIMIT
from chalicelib.queue.services import queues
from chalicelib.schema import jobs
from nightshift.testkit.kit import DEAD, PRIORITY, WORK, Killed, Kit
from tests.queue.samples import (
    Note,
    change_job,
    dead_letters,
    execute,
    handle,
    insert_job,
    left,
    listening,
    lock,
    pause,
    resume,
    rival,
    rows_read,
    statuses,
)
from tests.servers import on_each_server
from tests.sweep import some

DAY = 86_400


def sent(kit: Kit, *, queue: str = WORK) -> list[str]:
    """Return the ids of the jobs that messages on a queue ask for."""
    return [json.loads(held.body)["id"] for held in kit.sqs.messages(queue)]


def insert_many(kit: Kit, count: int, **values: Any) -> list[str]:
    new: list[Job[Any]] = [Job(type="note", payload={"text": n}, **values) for n in range(count)]
    with kit.context().database.begin() as connection:
        return enqueue_many(connection, new, clock=kit.clock)


def summary_of(summary: dict[str, Any]) -> tuple[int, int, int, int]:
    return summary["total"], summary["succeeded"], summary["failed"], summary["skipped"]


def test_dispatch_without_due_jobs_does_nothing(kit: Kit) -> None:
    assert summary_of(kit.dispatch()) == (0, 0, 0, 0)
    assert kit.sqs.messages(WORK) == []


@pytest.mark.parametrize(
    ("ahead_ms", "seconds"),
    [(-LOST_AFTER_MS, 0), (0, 0), (1, 1), (60_000, 60), (LOOKAHEAD_MS, 90), (LOOKAHEAD_MS + 1, None)],
)
def test_jobs_due_before_next_dispatch_are_sent_with_delay(kit: Kit, ahead_ms: int, seconds: int | None) -> None:
    at = kit.clock.now_ms() + ahead_ms
    insert_job(kit, id="j", due_at=at, dispatch_at=at)
    assert kit.dispatch()["succeeded"] == (seconds is not None)
    assert left(kit) == ([] if seconds is None else [seconds])
    # Sent once, it is not sent again a minute later.
    kit.clock.advance(60)
    before = sent(kit)
    kit.dispatch()
    assert sent(kit)[: len(before)] == before
    assert len(sent(kit)) == 1


def test_more_than_one_call_takes_are_sent_the_longest_due_first(kit: Kit) -> None:
    ids = insert_many(kit, 25)
    oldest = insert_job(kit, id="oldest", dispatch_at=-1)
    assert summary_of(kit.dispatch()) == (26, 26, 0, 0)
    assert sent(kit)[0] == oldest
    assert sorted(sent(kit)) == sorted([*ids, oldest])
    assert summary_of(kit.dispatch()) == (0, 0, 0, 0)


def test_near_the_deadline_the_rest_is_left_to_the_next_minute(kit: Kit) -> None:
    insert_many(kit, 25)

    def let_time_pass(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "dispatch_at <=" in statement:
            kit.clock.advance(25)

    with listening(kit, "before_cursor_execute", let_time_pass):
        summary = dispatch.dispatch(kit.context(seconds=59))
    assert summary["succeeded"] == len(sent(kit)) == 20
    kit.dispatch()
    assert len(set(sent(kit))) == 25


def test_each_job_goes_to_its_own_queue_and_what_no_queue_is_called_to_the_ordinary_one(kit: Kit) -> None:
    for name in ("work", "priority", "unheard-of"):
        insert_job(kit, id=name, queue=name)
    kit.dispatch()
    assert (sorted(sent(kit)), sent(kit, queue=PRIORITY)) == (["unheard-of", "work"], ["priority"])


def test_job_of_dead_worker_is_sent_again_after_its_lease(kit: Kit) -> None:
    begun = handle(kit)
    job_id = kit.enqueue("note", {})
    (message,) = kit.receive()
    with kit.killed_at("begin"):
        kit.work([message], seconds=300)
    row = kit.job(job_id)
    assert (row.status, row.lease_until) == ("claimed", kit.clock.now_ms() + 360_000)
    kit.clock.advance(200)
    kit.dispatch()
    assert len(sent(kit)) == 1
    # It is sent ahead, and comes when the lease is over.
    kit.clock.advance(100)
    kit.dispatch()
    assert sorted(left(kit)) == [60, 1500]
    kit.clock.advance(60)
    kit.drain()
    assert ([job.id for job in begun], kit.job(job_id).status) == ([job_id], "completed")


def test_lost_message_is_sent_again_after_six_hours(kit: Kit) -> None:
    begun = handle(kit)
    job_id = kit.enqueue("note", {})
    kit.sqs.messages(WORK).clear()
    kit.clock.advance((LOST_AFTER_MS - LOOKAHEAD_MS) / 1000 - 1)
    kit.dispatch()
    assert sent(kit) == []
    kit.clock.advance(1)
    kit.dispatch()
    assert sent(kit) == [job_id]
    kit.clock.advance(LOOKAHEAD_MS / 1000)
    kit.drain()
    assert [job.id for job in begun] == [job_id]


def test_copy_of_late_message_has_no_effect(kit: Kit) -> None:
    begun = handle(kit)
    job_id = kit.enqueue("note", {})
    kit.clock.advance(LOST_AFTER_MS / 1000)
    kit.dispatch()
    assert sent(kit) == [job_id, job_id]
    kit.drain()
    assert (len(begun), left(kit), kit.job(job_id).status) == (1, [], "completed")


@pytest.mark.parametrize("status", WAITING)
def test_a_job_that_expired_before_it_was_sent_is_closed(kit: Kit, status: Status) -> None:
    now = kit.clock.now_ms()
    insert_job(kit, id="over", status=status, expires_at=now)
    insert_job(kit, id="open", status=status, expires_at=now + 1)
    assert summary_of(kit.dispatch()) == (2, 1, 0, 1)
    assert sent(kit) == ["open"]
    row = kit.job("over")
    assert (row.status, row.ended_at, row.dispatch_at, row.completed_at) == ("expired", now, None, None)


@pytest.mark.parametrize("status", TAKEN)
def test_a_job_that_expires_while_it_is_performed_may_end(kit: Kit, status: Status) -> None:
    insert_job(
        kit, id="j", status=status, attempts=1, expires_at=kit.clock.now_ms(), lease_until=kit.clock.now_ms() + 1
    )
    kit.dispatch()
    assert kit.job("j").status == status
    kit.clock.advance(0.001)
    change_job(kit, "j", dispatch_at=0)
    kit.dispatch()
    assert kit.job("j").status == "expired"


def test_the_attempt_that_outlived_the_expiry_of_its_job_is_recorded(kit: Kit) -> None:
    def outlive(_job: Job[Note]) -> None:
        kit.clock.advance(285)
        kit.dispatch()

    handle(kit, outlive)
    job_id = kit.enqueue("note", {}, expires_at=from_ms(kit.clock.now_ms() + 280_000))
    kit.work(kit.receive(), seconds=300)
    assert kit.job(job_id).status == "completed"


@pytest.mark.parametrize("status", OVER)
def test_a_job_that_was_closed_by_hand_is_neither_sent_nor_changed_otherwise(kit: Kit, status: Status) -> None:
    # Whoever writes plain SQL changes the status, and leaves everything else.
    job_id = insert_job(kit, id="j", status=status, data="no JSON", expires_at=1)
    assert summary_of(kit.dispatch()) == (1, 0, 0, 1)
    row = kit.job(job_id)
    assert (row.status, row.dispatch_at, row.last_error) == (status, None, None)
    assert (kit.sqs.messages(WORK), kit.sqs.messages(DEAD)) == ([], [])
    assert summary_of(kit.dispatch()) == (0, 0, 0, 0)


def test_jobs_of_a_paused_type_stay_until_it_is_resumed(kit: Kit) -> None:
    pause(kit, "note")
    pause(kit, "unheard_of")
    insert_many(kit, 12)
    # Behind more paused ones than fit into one call.
    insert_job(kit, id="other", type="other")
    kit.dispatch()
    assert sent(kit) == ["other"]
    assert Counter(statuses(kit).values()) == {"pending": 13}
    resume(kit, "note")
    kit.dispatch()
    assert len(set(sent(kit))) == 13


def test_pause_of_task_does_not_pause_jobs_of_that_name(kit: Kit) -> None:
    pause(kit)
    execute(kit, "UPDATE pauses SET kind = 'task'")
    insert_job(kit, id="j")
    kit.dispatch()
    assert sent(kit) == ["j"]


@pytest.mark.parametrize("status", Status)
def test_only_finished_jobs_are_pruned_after_retention(kit: Kit, status: Status) -> None:
    now = kit.clock.now_ms()
    days = kit.context().settings(QueueSettings).jobs_retention_days
    closed = {"status": status, "dispatch_at": None}
    for name, age_days in (("old", days), ("young", days - 1)):
        insert_job(kit, id=name, ended_at=now - age_days * DAY * 1000 - 1, created_at=0, **closed)
    insert_job(kit, id="never-ended", created_at=0, **closed)
    summary = kit.dispatch()
    is_pruned = status in {Status.COMPLETED, Status.CANCELLED, Status.EXPIRED}
    assert sorted(statuses(kit)) == (["never-ended", "young"] if is_pruned else ["never-ended", "old", "young"])
    assert summary["succeeded"] == is_pruned


def test_the_retention_is_the_settings_and_to_the_millisecond(database_url: str) -> None:
    kit = Kit(database_url, JOBS_RETENTION_DAYS="15")
    now = kit.clock.now_ms()
    for name, ended_at in (("old", now - 15 * DAY * 1000 - 1), ("just", now - 15 * DAY * 1000)):
        insert_job(kit, id=name, status="completed", dispatch_at=None, ended_at=ended_at)
    kit.dispatch()
    assert list(statuses(kit)) == ["just"]


def test_more_than_one_statement_takes_is_cleared_away_too(kit: Kit) -> None:
    ids = insert_many(kit, PRUNE_CHUNK + 5)
    execute(kit, "UPDATE jobs SET status = 'completed', dispatch_at = NULL, ended_at = 1")
    assert kit.dispatch()["succeeded"] == len(ids)
    assert kit.jobs() == []


def test_while_sqs_refuses_everything_stays_due_and_lambda_sees_it(kit: Kit) -> None:
    ids = insert_many(kit, 12)
    insert_job(kit, id="over", expires_at=1)
    kit.sqs.refuse = {"SendMessageBatch"}
    before = kit.jobs()
    with pytest.raises(RunFailedError, match=r"\Adispatch failed: the work queue does not take messages: ") as caught:
        kit.dispatch()
    assert caught.value.outcome is Outcome.FAILED
    assert kit.jobs() == before
    kit.sqs.refuse = set()
    kit.dispatch()
    assert sorted(sent(kit)) == sorted(ids)
    assert kit.job("over").status == "expired"


def test_invalid_row_stays_due_while_dead_letter_queue_refuses(kit: Kit) -> None:
    insert_job(kit, id="bad", data="no JSON")
    kit.sqs.refuse = {"SendMessage"}
    with pytest.raises(RunFailedError, match="the dead-letter queue does not take messages"):
        kit.dispatch()
    assert (kit.job("bad").status, kit.job("bad").last_error) == ("pending", None)
    kit.sqs.refuse = set()
    kit.dispatch()
    assert kit.job("bad").status == "dead"
    assert len(dead_letters(kit)) == 1


def test_a_kill_between_sqs_and_the_commit_sends_twice_and_the_job_is_done_once(kit: Kit) -> None:
    begun = handle(kit)
    insert_job(kit, id="j")

    def die(_connection: Any) -> None:
        if kit.sqs.messages(WORK):
            raise Killed

    with listening(kit, "commit", die), pytest.raises(Killed):
        kit.dispatch()
    kit.dispatch()
    assert sent(kit) == ["j", "j"]
    kit.drain()
    assert (len(begun), left(kit), kit.job("j").status) == (1, [], "completed")


@on_each_server
def test_job_that_another_dispatch_sends_is_skipped(kit: Kit) -> None:
    ids = insert_many(kit, 10)
    insert_job(kit, id="free", dispatch_at=1)
    with rival(kit) as connection:
        for job_id in ids:
            lock(connection, job_id)
        assert summary_of(kit.dispatch()) == (1, 1, 0, 0)
    assert sent(kit) == ["free"]
    kit.dispatch()
    assert len(set(sent(kit))) == len(sent(kit)) == 11


@on_each_server
def test_concurrent_dispatches_send_each_job_once(kit: Kit) -> None:
    count, rivals = 120, 3
    ids = insert_many(kit, count)
    barrier, lock, failures = Barrier(rivals), Lock(), list[Exception]()
    send_batch = kit.sqs.send_message_batch

    def send_one_at_a_time(**call: Any) -> dict[str, Any]:
        with lock:
            return send_batch(**call)

    kit.sqs.send_message_batch = send_one_at_a_time  # type: ignore[method-assign]

    def send_all() -> None:
        # As separate processes have them: each its own engine and connection.
        engine = create_engine(kit.environment["DATABASE_URL"], isolation_level="READ COMMITTED")
        context = kit.context()
        try:
            barrier.wait()
            database = Database(engine, kit.clock)
            dispatch.send_backlogs(database, queues(context), clock=kit.clock, breaker_of=lambda _: None)
        except Exception as error:  # noqa: BLE001 (told below, in the thread that pytest watches)
            failures.append(error)
        finally:
            engine.dispose()

    threads = [Thread(target=send_all) for _ in range(rivals)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert Counter(sent(kit)) == Counter(ids)


@pytest.mark.parametrize("queue", [WORK, PRIORITY])
def test_data_too_long_for_a_message_stays_in_its_row_and_arrives(kit: Kit, queue: str) -> None:
    begun = handle(kit)
    text = "x" * LIMIT
    insert_job(kit, id="long", data=json.dumps({"text": text}), queue="priority" if queue == PRIORITY else "work")
    kit.dispatch()
    assert [json.loads(held.body) for held in kit.sqs.messages(queue)] == [
        {"type": "note", "data": {}, "id": "long", "data_in_row": True}
    ]
    kit.drain(queue=queue)
    assert [job.payload.text == text for job in begun] == [True]
    assert kit.job("long").status == "completed"
    assert kit.s3.objects == {}


def test_data_that_is_too_long_in_ascii_alone_stays_in_its_row_and_arrives(kit: Kit) -> None:
    begun = handle(kit)
    text = "я" * (LIMIT // 3)
    insert_job(kit, id="long", data=json.dumps({"text": text}, ensure_ascii=False))
    kit.dispatch()
    assert '"data_in_row":true' in kit.sqs.messages(WORK)[0].body
    kit.drain()
    assert [job.payload.text == text for job in begun] == [True]


def test_dead_letter_of_any_row_fits_without_the_bucket(kit: Kit) -> None:
    insert_job(kit, id="broken", data='"' * LIMIT)
    assert kit.dispatch()["failed"] == 1
    assert [json.loads(held.body) for held in kit.sqs.messages(DEAD)] == [{"type": "note", "data": {}, "id": "broken"}]
    assert kit.job("broken").status == "dead"
    assert kit.s3.objects == {}


def test_dispatch_writes_one_line_and_its_metrics(kit: Kit, log: Callable[[], list[dict[str, Any]]]) -> None:
    insert_many(kit, 3)
    kit.dispatch()
    line, metrics = log()
    assert (line["message"], line["task"], line["outcome"]) == ("run succeeded", "dispatch", "succeeded")
    assert (line["total"], line["succeeded"]) == (3, 3)
    assert (metrics["task"], metrics["run_succeeded"], metrics["items_succeeded"]) == ("dispatch", [1.0], [3.0])


@on_each_server
def test_dispatch_reads_no_paused_finished_or_future_jobs(kit: Kit) -> None:
    types = ["note", "other", "paused"]

    def cost() -> int:
        insert_job(kit, id=f"due-{len(kit.jobs())}", type="other")
        before = rows_read(kit)
        kit.dispatch()
        return rows_read(kit) - before

    later = kit.clock.now_ms() + 10 * LOOKAHEAD_MS
    for type_ in types:
        insert_job(kit, id=f"over-{type_}", type=type_, status="completed", dispatch_at=None)
    pause(kit, "paused")
    few = cost()
    with kit.context().database.begin() as connection:
        enqueue_many(connection, [Job(type="paused", payload={}) for _ in range(2000)], clock=kit.clock)
        new: list[Job[Any]] = [Job(type="note", payload={}, run_at=from_ms(later)) for _ in range(1000)]
        enqueue_many(connection, new, clock=kit.clock)
        over: list[Job[Any]] = [Job(type="other", payload={}) for _ in range(1000)]
        ids = enqueue_many(connection, over, clock=kit.clock)
        connection.execute(
            update(jobs).where(jobs.c.id.in_(ids)).values(status="completed", dispatch_at=None, ended_at=later)
        )
    assert cost() <= few + 20


@on_each_server
def test_urgent_jobs_are_sent_first_even_if_they_arrive_during_dispatch(kit: Kit) -> None:
    insert_many(kit, 25)
    urgent = insert_many(kit, 12, queue="priority")
    order: list[str] = []
    send = kit.sqs.send_message_batch

    def remember(**call: Any) -> dict[str, Any]:
        if len(order) == 2:
            insert_job(kit, id="late", queue="priority", type="unheard_of_before")
            urgent.append(insert_job(kit, id="urgent", queue="priority"))
        order.append("priority" if call["QueueUrl"].endswith(PRIORITY) else "work")
        return send(**call)

    kit.sqs.send_message_batch = remember  # type: ignore[method-assign]
    kit.dispatch()
    # Twelve take two batches, and eight of work fill the second.
    assert order[:5] == ["priority", "priority", "work", "priority", "work"]
    assert sorted(sent(kit, queue=PRIORITY)) == sorted(urgent)
    kit.dispatch()
    assert sent(kit, queue=PRIORITY)[-1] == "late"


def test_types_take_turns(kit: Kit) -> None:
    insert_many(kit, 45)
    new: list[Job[Any]] = [Job(type="other", payload={}) for _ in range(12)]
    with kit.context().database.begin() as connection:
        others = enqueue_many(connection, new, clock=kit.clock)
    kit.dispatch()
    assert set(others) <= set(sent(kit)[:40])
    assert len(set(sent(kit))) == 57


@pytest.mark.parametrize("seed", some(4, of=100))
def test_every_due_job_is_sent_once_whatever_its_queue_and_type_unless_it_is_paused(kit: Kit, seed: int) -> None:
    random = Random(seed)
    types, queues = ["a", "b", "c", "d"], ["work", "priority", "mine"]
    stopped = set(random.sample(types, random.randint(0, 2)))
    for type_ in stopped:
        pause(kit, type_)
    expected = set()
    rows = []
    for n in range(random.randint(0, 60)):
        type_, queue = random.choice(types), random.choice(queues)
        at = random.choice([0, kit.clock.now_ms(), kit.clock.now_ms() + 2 * LOOKAHEAD_MS, None])
        rows.append({"id": f"j{n}", "type": type_, "queue": queue, "dispatch_at": at, "data": "{}", "created_at": n})
        if type_ not in stopped and at in {0, kit.clock.now_ms()}:
            expected.add(f"j{n}")
    if rows:
        execute(kit, insert(jobs), rows)
    kit.dispatch()
    everything = sent(kit) + sent(kit, queue=PRIORITY)
    assert (len(everything), set(everything)) == (len(expected), expected)
