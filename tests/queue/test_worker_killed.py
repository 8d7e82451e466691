"""Workers that are killed, take too long, or overlap: each job is done, and none costs its neighbours anything."""

import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Thread
from typing import Any

import pytest

from chalicelib.core.errors import PermanentError
from chalicelib.queue.job import Job
from nightshift.testkit.kit import DEAD, WORK, Killed, Kit
from nightshift.testkit.memory import VISIBILITY_SECONDS
from tests.queue.samples import Note, change_job, dead_letters, fail, handle, insert_job, left, listening, statuses
from tests.servers import on_each_server

MESSAGE = {"type": "note", "data": {"text": "hello"}}
LEASE_SECONDS = 300 + 60


def killed_before(kit: Kit, *, statement: str) -> AbstractContextManager[None]:
    def die(_connection: object, _cursor: object, asked: str, *_: object) -> None:
        if asked.startswith(statement):
            raise Killed

    return listening(kit, "before_cursor_execute", die)


MOMENTS: dict[str, tuple[Callable[[Kit], AbstractContextManager[None]], int]] = {
    "before the claim": (lambda kit: killed_before(kit, statement="INSERT INTO jobs"), 1),
    "after the claim": (lambda kit: kit.killed_at("begin"), 1),
    "after the effect": (lambda kit: kit.killed_at("end"), 2),
    "before the record": (lambda kit: killed_before(kit, statement="UPDATE jobs"), 2),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_job_of_killed_process_is_completed(kit: Kit, moment: str) -> None:
    kill, times = MOMENTS[moment]
    begun = handle(kit)
    job_id = kit.send(MESSAGE)
    with kill(kit):
        assert kit.work(kit.receive()) is None
    assert left(kit) == [VISIBILITY_SECONDS]
    kit.settle()
    kit.clock.advance(VISIBILITY_SECONDS)
    kit.drain()
    assert (statuses(kit), len(begun)) == ({job_id: "completed"}, times)
    # An attempt that had perhaps not begun is not counted.
    assert [job.attempt for job in begun] == [1] * times
    assert left(kit) == []


def test_kill_before_acknowledgement_repeats_no_effect(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    def perform(job: Job[Note]) -> None:
        if job.payload.text == "bad" and job.attempt == 1:
            raise ValueError("no")

    def die(**_: Any) -> None:
        raise Killed

    begun = handle(kit, perform)
    for text in ("good", "bad", "good"):
        kit.send({"type": "note", "data": {"text": text}})
    with monkeypatch.context() as patch:
        patch.setattr(kit.sqs, "delete_message_batch", die)
        assert kit.work(kit.receive()) is None
    assert len(left(kit)) == 3
    kit.settle()
    kit.clock.advance(VISIBILITY_SECONDS)
    kit.drain()
    assert Counter(job.payload.text for job in begun) == {"good": 2, "bad": 2}
    assert (set(statuses(kit).values()), left(kit)) == ({"completed"}, [])


def test_job_that_kills_each_process_is_dead_after_its_attempts(kit: Kit) -> None:
    begun = fail(kit, Killed())
    job_id = kit.send(MESSAGE)
    kit.settle()
    row = kit.job(job_id)
    assert (row.status, row.last_error) == (
        "dead",
        "PermanentError: attempt 3 was the last: the process ended in the middle of it",
    )
    # Once in company, where nobody can tell whether it had begun, and then as often as it may.
    assert len(begun) == 1 + 3
    assert [reason for _, reason in dead_letters(kit)] == [
        "attempt 3 was the last: the process ended in the middle of it"
    ]
    kit.clock.advance(VISIBILITY_SECONDS)
    kit.drain()
    assert (left(kit), len(kit.sqs.messages(DEAD))) == ([], 1)


@pytest.mark.parametrize("moment", ["begin", "end"])
def test_job_with_one_attempt_begins_once_despite_kills(kit: Kit, moment: Any) -> None:
    begun = handle(kit, max_attempts=1)
    job_id = kit.send(MESSAGE)
    with kit.killed_at(moment):
        kit.work(kit.receive())
    kit.settle()
    assert len(begun) == (moment == "end")
    assert kit.job(job_id).status == "dead"
    assert [reason for _, reason in dead_letters(kit)] == [
        "attempt 1 was the last: the process ended in the middle of it"
    ]


def test_job_with_one_attempt_is_claimed_after_the_job_before_it_ended(kit: Kit) -> None:
    def perform(job: Job[Note]) -> None:
        if job.payload.text == "poison":
            raise Killed

    begun = handle(kit, perform, max_attempts=1)
    poison, good = (kit.send({"type": "note", "data": {"text": text}}) for text in ("poison", "good"))
    kit.work(kit.receive())
    assert (statuses(kit)[poison], statuses(kit)[good]) == ("processing", "pending")
    kit.settle()
    assert statuses(kit) == {poison: "dead", good: "completed"}
    assert Counter(job.id for job in begun) == {poison: 1, good: 1}


@pytest.mark.parametrize("places", [(0,), (4,), (9,), (0, 1), (3, 8)])
def test_job_that_kills_its_process_does_not_affect_its_batch(kit: Kit, places: tuple[int, ...]) -> None:
    def perform(job: Job[Note]) -> None:
        if job.payload.text == "poison":
            raise Killed

    begun = handle(kit, perform)
    ids = [kit.send({"type": "note", "data": {"text": "poison" if n in places else n}}) for n in range(10)]
    poisons = {ids[n] for n in places}
    kit.settle()
    executions = Counter(job.id for job in begun)
    for job in kit.jobs():
        if job.id in poisons:
            assert (job.status, job.attempts) == ("dead", 4)
            assert executions[job.id] <= 1 + 3
        else:
            assert (job.status, job.attempts) == ("completed", 1)
            # Of what was quick and not yet recorded, the first kill repeats what it must.
            assert executions[job.id] <= 2
    assert {reason for _, reason in dead_letters(kit)} == {
        "attempt 3 was the last: the process ended in the middle of it"
    }
    assert len(dead_letters(kit)) == len(poisons)
    kit.clock.advance(VISIBILITY_SECONDS)
    kit.drain()
    assert left(kit) == []


def test_kill_repeats_at_most_one_network_effect(kit: Kit) -> None:
    effects: list[str] = []

    def perform(job: Job[Note]) -> None:
        if job.payload.text == "poison":
            raise Killed
        # What leaves the process takes longer than this.
        with open(os.devnull, "wb") as somewhere:  # noqa: PTH123 (a file as any other)
            for _ in range(200):
                somewhere.write(b"x" * 100_000)
        effects.append(job.id)

    handle(kit, perform)
    for n in range(10):
        kit.send({"type": "note", "data": {"text": "poison" if n == 9 else n}})
    kit.settle()
    assert max(Counter(effects).values()) == 1
    assert len(effects) == 9


def test_job_under_live_lease_is_not_performed_by_another_worker(kit: Kit) -> None:
    answers: list[Any] = []

    def perform(job: Job[Note]) -> None:
        kit.redeliver(job.id)
        kit.clock.advance(LEASE_SECONDS - 61)
        answers.append(kit.work(kit.receive()))

    begun = handle(kit, perform)
    job_id = kit.send(MESSAGE)
    kit.work(kit.receive())
    # The other left its message, should this worker have died.
    assert (answers, len(begun)) == ([None], 1)
    assert left(kit) == [VISIBILITY_SECONDS]
    kit.clock.advance(VISIBILITY_SECONDS)
    kit.drain()
    assert (left(kit), len(begun), kit.job(job_id).status) == ([], 1, "completed")


def test_worker_whose_lease_ended_cannot_write(kit: Kit) -> None:
    endings: list[str] = []

    def perform(job: Job[Note]) -> None:
        if job.attempt == 1 and not endings:
            endings.append("first")
            # Frozen by its machine for longer than Lambda would have let it live.
            kit.clock.advance(LEASE_SECONDS)
            kit.redeliver(job.id)
            assert kit.work(kit.receive()) == {"messages": 1, "succeeded": 1}
            kit.clock.advance(1)
            raise ValueError("too late")
        endings.append("second")

    handle(kit, perform)
    job_id = kit.send(MESSAGE)
    kit.work(kit.receive())
    row = kit.job(job_id)
    assert (endings, row.status, row.last_error) == (["first", "second"], "completed", None)
    assert row.ended_at == kit.clock.now_ms() - 1000
    kit.clock.advance(VISIBILITY_SECONDS)
    kit.drain()
    assert (left(kit), len(endings), kit.sqs.messages(DEAD)) == ([], 2, [])


@pytest.mark.parametrize("error", [None, ValueError("no"), PermanentError("never")], ids=repr)
def test_attempt_that_lost_its_claim_writes_nothing(kit: Kit, error: Exception | None) -> None:
    taken_over: dict[str, Any] = {"status": "processing", "attempts": 2, "claimed_by": "other"}

    def perform(job: Job[Note]) -> None:
        kit.clock.advance(LEASE_SECONDS)
        change_job(kit, job.id, lease_until=kit.clock.now_ms() + 1000, **taken_over)
        if error is not None:
            raise error

    handle(kit, perform)
    job_id = kit.send(MESSAGE)
    kit.work(kit.receive())
    row = kit.job(job_id)
    assert {name: getattr(row, name) for name in taken_over} == taken_over
    assert (row.ended_at, row.last_error) == (None, None)
    assert row.lease_until == kit.clock.now_ms() + 1000


def test_job_claimed_by_another_worker_is_not_released(kit: Kit) -> None:
    taken_over: dict[str, Any] = {"status": "processing", "attempts": 1, "claimed_by": "other"}

    def perform(job: Job[Note]) -> None:
        kit.clock.advance(LEASE_SECONDS)
        for other in kit.jobs():
            if other.id != job.id:
                change_job(kit, other.id, lease_until=kit.clock.now_ms() + 1000, **taken_over)

    begun = handle(kit, perform)
    ids = {kit.send(MESSAGE) for _ in range(2)}
    kit.work(kit.receive())
    (first,) = begun
    row = kit.job((ids - {first.id}).pop())
    assert {name: getattr(row, name) for name in taken_over} == taken_over
    assert row.lease_until == kit.clock.now_ms() + 1000


def test_message_redelivered_during_work_is_performed_once(kit: Kit) -> None:
    # A queue whose visibility time-out is shorter than the work.
    def receive() -> list[dict[str, Any]]:
        answer = kit.sqs.receive_message(QueueUrl=WORK, MaxNumberOfMessages=10, VisibilityTimeout=30)
        return list(answer.get("Messages", []))

    def perform(_job: Job[Note]) -> None:
        for _ in range(3):
            kit.clock.advance(31)
            assert kit.work(receive()) is None

    begun = handle(kit, perform)
    job_id = kit.send(MESSAGE)
    kit.work(receive())
    # The receipt that it acknowledged with is out of date, so the message is there still.
    assert (len(begun), kit.job(job_id).status, left(kit)) == (1, "completed", [30])
    kit.clock.advance(30)
    assert kit.work(receive()) == {"messages": 1, "skipped": 1}
    assert (len(begun), left(kit)) == (1, [])


def test_job_is_claimed_again_after_its_lease_and_the_attempt_counts(kit: Kit) -> None:
    insert_job(kit, id="j", status="processing", attempts=1, lease_until=kit.clock.now_ms() + 1000, claimed_by="r")
    begun = handle(kit)
    kit.redeliver("j")
    assert kit.work(kit.receive()) is None
    change_job(kit, "j", lease_until=kit.clock.now_ms())
    kit.redeliver("j")
    assert kit.work(kit.receive()) == {"messages": 1, "succeeded": 1}
    assert [job.attempt for job in begun] == [2]


def hang(_job: object) -> None:
    """Wait for what never comes."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.recv(1)


def test_attempt_beyond_its_time_limit_is_interrupted(kit: Kit) -> None:
    handle(kit, hang, type_="slow", timeout_seconds=0.05)
    handle(kit, timeout_seconds=60)
    slow, quick = (kit.send({"type": type_, "data": {}}) for type_ in ("slow", "note"))
    assert kit.work(kit.receive()) is None
    assert statuses(kit) == {slow: "failed", quick: "completed"}
    assert kit.job(slow).last_error == "TimedOutError: it took longer than the 0.05 s that it may take"
    assert len(left(kit)) == 1
    kit.settle()
    assert (kit.job(slow).status, kit.job(slow).attempts) == ("dead", 3)
    assert [reason for _, reason in dead_letters(kit)] == ["it took longer than the 0.05 s that it may take"]


@on_each_server
def test_time_limit_leaks_no_pooled_connection(kit: Kit) -> None:
    connections: list[Any] = []

    def leak(_job: Job[Note]) -> None:
        # As an alarm does that rings while a connection is on its way into the pool or out of it.
        connections.append(kit.context().database.engine.pool.connect())
        hang(_job)

    handle(kit, leak, timeout_seconds=0.05, max_attempts=1)
    # More than the pool has places, of which one more would be waited for half a minute.
    pool: Any = kit.context().database.engine.pool
    ids = [kit.send(MESSAGE) for _ in range(pool.size() + pool._max_overflow + 1)]
    kit.drain()
    assert {kit.job(id_).status for id_ in ids} == {"dead"}
    assert len(connections) == len(ids)


def test_time_limit_ends_before_the_invocation(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []

    @contextmanager
    def note_limit(seconds: float | None) -> Iterator[None]:
        limits.append(seconds)
        yield

    monkeypatch.setattr("chalicelib.queue.perform.time_limit", note_limit)
    for timeout in (60, 600, None):
        handle(kit, timeout_seconds=timeout)
        kit.send(MESSAGE)
        kit.work(kit.receive(), seconds=300)
    # Half of what is kept for recording is left to record that it was interrupted.
    assert limits == [60, 295, None]


def test_no_time_limit_outside_main_thread(kit: Kit) -> None:
    begun = handle(kit, timeout_seconds=0.000_001)
    job_id = kit.send(MESSAGE)
    thread = Thread(target=kit.drain)
    thread.start()
    thread.join()
    assert (len(begun), kit.job(job_id).status) == (1, "completed")
