"""Jobs of one batch that are performed at once: as many as the handler says, recorded by one, and each as if alone."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Event, Lock, current_thread, main_thread
from typing import Any

import pytest
from sqlalchemy import text

from chalicelib.core.context import Context
from chalicelib.core.errors import PermanentError, UnavailableError
from chalicelib.core.telemetry import logger
from chalicelib.queue import outbox, worker
from chalicelib.queue.handler import Handler
from chalicelib.queue.job import Job
from chalicelib.queue.worker import StuckError
from nightshift.testkit.kit import Killed, Kit, event
from nightshift.testkit.memory import VISIBILITY_SECONDS
from tests import forked
from tests.queue import dying_worker
from tests.queue.samples import Note, dead_letters, handle, left, listening, statuses

LEASE_SECONDS = 300 + 60


class Meeting:
    """A job waits here until so many are there; `most` were there at once."""

    def __init__(self, parties: int) -> None:
        self._all_there = Barrier(parties, timeout=30)
        self._lock = Lock()
        self._there = self.most = 0

    def __call__(self, _job: object) -> None:
        """Be there."""
        with self._lock:
            self._there += 1
            self.most = max(self.most, self._there)
        self._all_there.wait()
        with self._lock:
            self._there -= 1


def send(kit: Kit, number: int, *, type_: str = "note") -> list[str]:
    return [kit.send({"type": type_, "data": {"text": n}}) for n in range(number)]


@pytest.mark.parametrize("parallel", [2, 5])
def test_as_many_jobs_are_performed_at_once_as_the_handler_says(kit: Kit, parallel: int) -> None:
    meeting = Meeting(parallel)
    handle(kit, meeting, parallel=parallel)
    ids = send(kit, 10)
    assert kit.work(kit.receive()) == {"messages": 10, "succeeded": 10}
    assert meeting.most == parallel
    assert statuses(kit) == dict.fromkeys(ids, "completed")


def test_each_type_has_a_number_of_its_own(kit: Kit) -> None:
    meeting = Meeting(5)
    handle(kit, meeting, parallel=2)
    handle(kit, meeting, type_="other", parallel=3)
    send(kit, 2)
    send(kit, 3, type_="other")
    assert kit.work(kit.receive()) == {"messages": 5, "succeeded": 5}


def test_types_that_share_a_breaker_share_the_number(kit: Kit) -> None:
    meeting = Meeting(2)
    for type_ in ("note", "other"):
        handle(kit, meeting, type_=type_, parallel=2, breaker="shop")
        send(kit, 4, type_=type_)
    assert kit.work(kit.receive()) == {"messages": 8, "succeeded": 8}
    assert meeting.most == 2


def test_jobs_run_one_by_one_on_the_main_thread_unless_the_handler_says_otherwise(kit: Kit) -> None:
    threads: list[Any] = []
    handle(kit, lambda _: threads.append(current_thread()))
    send(kit, 3)
    kit.drain()
    handle(kit, lambda _: threads.append(current_thread()), parallel=10)
    send(kit, 1)
    kit.drain()
    assert threads == [main_thread()] * 4


def test_a_job_that_failed_before_is_tried_by_itself(kit: Kit) -> None:
    meeting, retries = Meeting(4), Meeting(1)

    def perform(job: Job[Note]) -> None:
        (meeting if job.attempt == 1 else retries)(job)
        if job.attempt == 1:
            raise ValueError("no")

    handle(kit, perform, parallel=10)
    send(kit, 4)
    kit.settle()
    assert set(statuses(kit).values()) == {"completed"}
    assert retries.most == 1


def test_how_each_ended_is_recorded_by_the_main_thread(kit: Kit) -> None:
    threads: set[Any] = set()
    meeting = Meeting(4)

    def perform(job: Job[Note]) -> None:
        meeting(job)
        if job.payload.text == 1:
            raise PermanentError("no such note")
        if job.payload.text == 2:
            raise ValueError("later")

    handle(kit, perform, parallel=4)
    ids = send(kit, 4)
    with listening(kit, "before_cursor_execute", lambda *_: threads.add(current_thread())):
        assert kit.work(kit.receive()) is None
    assert threads == {main_thread()}
    assert [kit.job(id_).status for id_ in ids] == ["completed", "dead", "failed", "completed"]
    assert [reason for _, reason in dead_letters(kit)] == ["no such note"]
    assert len(left(kit)) == 1


def test_jobs_on_threads_share_the_one_connection_of_their_worker(kit: Kit) -> None:
    meeting = Meeting(8)
    found, at_work = [], Lock()

    def perform(context: Context, job: Job[Note]) -> None:
        meeting(job)
        answer = context.database.transact(lambda connection: connection.execute(text("SELECT 7")).scalar())
        with at_work, context.database.begin() as connection:
            found.append((answer, connection.execute(text("SELECT 8")).scalar()))

    kit.handlers["note"] = Handler(type="note", payload=Note, perform=perform, parallel=8)
    send(kit, 8)
    connections: list[Any] = []
    kit.context().database.engine.dispose()
    with listening(kit, "connect", lambda *_: connections.append(1)):
        assert kit.work(kit.receive()) == {"messages": 8, "succeeded": 8}
    assert found == [(7, 8)] * 8
    assert len(connections) == 1


def test_each_line_and_each_message_of_a_job_on_a_thread_names_that_job(
    kit: Kit, log: Callable[[], list[dict[str, Any]]]
) -> None:
    meeting = Meeting(3)

    def perform(context: Context, job: Job[Note]) -> None:
        meeting(job)
        logger.info("inside", extra={"its_id": job.id})
        outbox.enqueue(context, "other", {"text": job.id})

    handle(kit, type_="other")
    kit.handlers["note"] = Handler(type="note", payload=Note, perform=perform, parallel=3)
    ids = send(kit, 3)
    log()
    kit.work(kit.receive())
    lines = [line for line in log() if line.get("message") == "inside"]
    assert sorted(line["job_id"] for line in lines) == sorted(ids)
    assert all(line["its_id"] == line["job_id"] and line["type"] == "note" for line in lines)
    traces = {line["job_id"]: line["trace_id"] for line in lines}
    enqueued = [job for job in kit.jobs() if job.type == "other"]
    assert len(enqueued) == 3
    for job in enqueued:
        assert traces[json.loads(job.data)["text"]] in job.envelope


def test_jobs_that_there_is_no_time_for_are_left_to_the_next_worker(kit: Kit) -> None:
    meeting = Meeting(2)

    def perform(job: Job[Note]) -> None:
        kit.clock.advance(50)
        meeting(job)

    begun = handle(kit, perform, parallel=2, timeout_seconds=240)
    ids = send(kit, 6)
    assert kit.work(kit.receive(), seconds=300) is None
    assert len(begun) == 2
    assert Counter(statuses(kit).values()) == {"completed": 2, "pending": 4}
    assert left(kit) == [0] * 4
    kit.drain()
    kit.settle()
    assert statuses(kit) == dict.fromkeys(ids, "completed")
    assert len(begun) == 6


def test_nothing_begins_once_the_breaker_is_open(kit: Kit, log: Callable[[], list[dict[str, Any]]]) -> None:
    def perform(_job: Job[Note]) -> None:
        raise UnavailableError("there is no answer", is_reached=False)

    begun = handle(kit, perform, parallel=2, breaker="shop")
    send(kit, 10)
    kit.work(kit.receive())
    # The breaker opens at the third in a row, while the fourth is under way.
    assert 3 <= len(begun) <= 4
    (told,) = (line for line in log() if line.get("level") == "WARNING")
    assert told["job_id"] in {job.id for job in begun}
    assert set(statuses(kit).values()) == {"pending"}


class Stuck:
    """Jobs that nothing interrupts, by their text, until the test frees them."""

    def __init__(self, *texts: int) -> None:
        self._texts = texts
        self.freed = Event()
        self.over = Event()

    def __call__(self, job: Job[Note]) -> None:
        """Wait, if it is one of them."""
        if job.payload.text in self._texts:
            self.freed.wait(60)
            self.over.set()


def test_a_job_beyond_its_time_limit_ends_the_process_when_the_others_are_done(kit: Kit) -> None:
    stuck = Stuck(0)
    begun = handle(kit, stuck, parallel=3, timeout_seconds=0.5)
    ids = send(kit, 3)
    alone = kit.send({"type": "alone", "data": {}})
    handle(kit, type_="alone", max_attempts=1)
    messages = kit.receive()
    with pytest.raises(StuckError, match="this process ends, so that the job does"):
        worker.work(event(messages), kit.context(), queue="work", find=kit._find)
    assert statuses(kit) == {ids[0]: "failed", ids[1]: "completed", ids[2]: "completed", alone: "pending"}
    assert kit.job(ids[0]).last_error == "TimedOutError: it took longer than the 0.5 s that it may take"
    # It fails, so the trigger keeps what the worker did not delete: the one to be tried again, and the one not begun.
    assert len(left(kit)) == 2
    stuck.freed.set()
    stuck.over.wait(60)
    kit.settle()
    assert statuses(kit) == dict.fromkeys([*ids, alone], "completed")
    assert Counter(job.id for job in begun) == {ids[0]: 2, ids[1]: 1, ids[2]: 1}


def test_nothing_begins_after_a_job_exceeded_its_time_limit(kit: Kit) -> None:
    stuck = Stuck(0, 1)
    begun, other = handle(kit, stuck, parallel=2, timeout_seconds=0.5), handle(kit, type_="other")
    send(kit, 4)
    send(kit, 1, type_="other")
    assert kit.work(kit.receive()) is None
    assert (len(begun), len(other)) == (2, 0)
    stuck.freed.set()
    kit.settle()
    assert set(statuses(kit).values()) == {"completed"}


def test_a_process_with_a_job_beyond_its_time_limit_ends(tmp_path: Path) -> None:
    program = """
import sys, threading
from tests.queue.samples import handle
from nightshift.testkit.kit import Kit, event
from chalicelib.queue import worker
kit = Kit("sqlite:///" + sys.argv[1])
handle(kit, lambda job: threading.Event().wait(), parallel=2, timeout_seconds=0.1)
for _ in range(2):
    kit.send({"type": "note", "data": {}})
worker.work(event(kit.receive()), kit.context(), queue="work", find=kit._find)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "jobs.db"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith("a job on a thread exceeded its time limit: this process ends, so that the job does\n")


def test_a_kill_in_a_thread_ends_the_invocation_and_loses_nothing(kit: Kit) -> None:
    meeting = Meeting(4)
    poison = True

    def perform(job: Job[Note]) -> None:
        if job.attempt == 1:
            meeting(job)
        if job.payload.text == 2 and poison:
            raise Killed

    begun = handle(kit, perform, parallel=4)
    ids = send(kit, 4)
    assert kit.work(kit.receive()) is None
    poison = False
    kit.clock.advance(max(VISIBILITY_SECONDS, LEASE_SECONDS))
    meeting = Meeting(1)
    kit.settle()
    assert statuses(kit) == dict.fromkeys(ids, "completed")
    assert max(Counter(job.id for job in begun).values()) <= 2


@pytest.mark.parametrize("nth", [1, 4, 7])
def test_a_killed_worker_loses_nothing_and_repeats_no_more_than_was_under_way(
    kit: Kit, database_url: str, tmp_path: Path, nth: int
) -> None:
    ids, effects = send(kit, 8), tmp_path / "effects"
    typed = json.dumps(event(kit.receive()))
    died = forked.run(dying_worker.main, database_url, str(effects), "4", str(nth), environment=os.environ, typed=typed)
    assert died.returncode == -signal.SIGKILL, died.stderr
    before = effects.read_text().split()
    assert len(before) >= nth
    begun = handle(kit, parallel=4)
    kit.clock.advance(LEASE_SECONDS)
    kit.settle()
    assert statuses(kit) == dict.fromkeys(ids, "completed")
    times = Counter([*before, *(job.id for job in begun)])
    assert set(times) == set(ids)
    assert max(times.values()) <= 2
    assert sum(count - 1 for count in times.values()) <= 4


def test_a_handler_performs_at_least_one_job_at_a_time() -> None:
    with pytest.raises(ValueError, match="must perform at least one job at a time: correct `parallel`"):
        Handler(type="note", payload=Note, perform=lambda _context, _job: None, parallel=0)
