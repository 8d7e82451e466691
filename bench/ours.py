"""Nightshift's worker as a contender: batches of ten, as SQS's trigger hands them over, in a process of its own.

python -m bench.ours messages.json WORKER WORKERS all|some
"""

import contextlib
import json
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import delete

from bench.rivals import tally
from bench.rivals.contest import Taken, make_data, race
from chalicelib import migrations
from chalicelib.core.clock import SystemClock
from chalicelib.core.context import Context, from_lambda
from chalicelib.core.database import Database
from chalicelib.core.engine import engine_for
from chalicelib.core.errors import TransientError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import logger
from chalicelib.queue import worker
from chalicelib.queue.claim import paused_types
from chalicelib.queue.handler import Handler
from chalicelib.queue.job import Job
from chalicelib.queue.outbox import enqueue, enqueue_many
from chalicelib.queue.worker import BatchFailedError
from chalicelib.schema import jobs as jobs_table
from nightshift.local.environment import local_environment
from nightshift.local.invocation import LocalContext, sqs_event

BATCH = 10


class Payload(msgspec.Struct, frozen=True):
    """What every contender's jobs are given."""

    user_id: str


def perform(_context: Context, job: Job[Payload]) -> Counts:
    """Note that a job was performed."""
    tally.job(job.payload)
    return Counts(total=1, succeeded=1)


NOOP = Handler(type="noop", payload=Payload, perform=perform, max_attempts=3, backoff_seconds=(60,), timeout_seconds=60)


def run_ours(url: str, workers: int, jobs: int, *, from_outbox: bool = False, is_copied: bool = False) -> Taken:
    """Let workers share the messages, or where these are copied, give every one to each in an order of its own."""
    prepare(url)
    with tempfile.TemporaryDirectory() as folder:
        messages = Path(folder) / "messages.json"
        messages.write_text(json.dumps(enqueued(url, jobs) if from_outbox else make_messages(jobs)))
        environment = local_environment(
            os.environ | {"DATABASE_URL": url}, endpoint="http://127.0.0.1:9", folder=Path(folder)
        )
        os.environ.update(environment)
        child = [sys.executable, "-m", "bench.ours", str(messages)]
        dealt = "all" if is_copied else "some"
        return race([[*child, str(number), str(workers), dealt] for number in range(workers)])


def prepare(url: str) -> None:
    """Migrate, and empty the table."""
    migrations.upgrade(engine_for(url))
    with engine_for(url).begin() as connection:
        connection.execute(delete(jobs_table))


def make_messages(jobs: int) -> list[dict[str, Any]]:
    """Return messages as received from SQS, from a service that names no ids."""
    return [message({"type": "noop", "data": data}) for data in make_data(jobs)]


def enqueued(url: str, jobs: int) -> list[dict[str, Any]]:
    """Enqueue as many jobs, and return their messages as dispatch sends them."""
    data = make_data(jobs)
    with Database(engine_for(url), SystemClock()).begin() as connection:
        ids = enqueue_many(connection, [Job(type="noop", payload=each) for each in data])
    return [message({"type": "noop", "data": each, "id": id_}) for id_, each in zip(ids, data, strict=True)]


def message(body: dict[str, Any]) -> dict[str, Any]:
    """Return a message as received from SQS."""
    return {"MessageId": str(uuid.uuid4()), "ReceiptHandle": "handle", "Body": json.dumps(body)}


def measure_enqueueing(url: str, jobs: int) -> dict[str, float]:
    """Return jobs a second: each in a transaction of its own, and all in one."""
    prepare(url)
    data, database = make_data(jobs), Database(engine_for(url), SystemClock())
    started = time.perf_counter()
    for each in data:
        with database.begin() as connection:
            enqueue(connection, "noop", each)
    middle = time.perf_counter()
    with database.begin() as connection:
        enqueue_many(connection, [Job(type="noop", payload=each) for each in data])
    ended = time.perf_counter()
    return {"a transaction each": jobs / (middle - started), "all in one": jobs / (ended - middle)}


def main() -> None:
    """Work on this worker's messages of the file, ten an invocation."""
    messages, number, workers = json.loads(Path(sys.argv[1]).read_text()), int(sys.argv[2]), int(sys.argv[3])
    events = [sqs_event(messages[start : start + BATCH]) for start in range(0, len(messages), BATCH)]
    events = in_turn(events, number, workers) if sys.argv[4] == "all" else events[number::workers]
    with Path(os.devnull).open("w") as sink:
        logger.handlers[0].setStream(sink)  # type: ignore[attr-defined]
        prepare_connection()
        tally.wait_for_start()
        with contextlib.redirect_stdout(sink):
            for event in events:
                # What another worker holds stays on the queue: the trigger would deliver it again. There is no SQS here
                # to be told so.
                with contextlib.suppress(BatchFailedError, TransientError):
                    worker.work(event, invoked(), queue="work", find=find)
        tally.tell()


def in_turn(events: list[dict[str, Any]], number: int, workers: int) -> list[dict[str, Any]]:
    """Return all events, beginning where no other worker begins: each finds what another has begun, and what not."""
    first = number * len(events) // workers
    return events[first:] + events[:first]


def invoked() -> Context:
    """Return the context of a new invocation, as from_lambda makes it each time."""
    return from_lambda(LocalContext(function_name="work"))


def prepare_connection() -> None:
    """Connect, as a warm function has."""
    invoked().database.transact(paused_types)


def find(_context: Context, _type: str) -> Handler:
    """Return the one handler."""
    return NOOP


if __name__ == "__main__":
    main()
