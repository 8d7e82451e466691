"""What large tables of jobs cost: dispatch beside paused jobs and due ones, and what an operator looks at.

python -m bench.backlog [--paused 400000] [--due 100000] [--jobs 7000000] [--rounds 5]

Dispatch is measured without SQS: its queues take what they are given at once. The jobs that are paused or due are
older than those that are waited for, so whatever goes by age alone meets them first.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from bench import command
from bench.machine import machine
from bench.report import Column, Part, Ratio, Table
from bench.servers import database, find, mixed, numbers
from bench.tabulate import tabulate
from chalicelib import migrations
from chalicelib.core.clock import SystemClock
from chalicelib.core.context import from_lambda
from chalicelib.core.database import Database
from chalicelib.core.engine import engine_for
from chalicelib.operate import operate
from chalicelib.queue.dispatch import send_backlogs
from chalicelib.queue.job import Job
from chalicelib.queue.outbox import enqueue_many
from nightshift.cli.requests import project_parts, project_schedules
from nightshift.local.environment import enter, local_environment
from nightshift.local.invocation import LocalContext

SIZES = {"paused": (400_000, 500), "due": (100_000, 300), "jobs": (7_000_000, 2000), "rounds": (5, 1)}
TIME = Column(name="time", unit="ms")
TURN = (Column(name="sent before", unit="jobs", decimals=0), TIME)
# A slow machine would take longer over a million rows than a connection waits for an answer.
CHUNK, BATCH = 100_000, 10
HOUR_MS = 3_600_000
LOOKS: dict[str, dict[str, Any]] = {
    "jobs list": {"command": "jobs.list"},
    "jobs list --status all": {"command": "jobs.list", "status": "all"},
    "jobs list --status pending": {"command": "jobs.list", "status": "pending"},
    "jobs list --type send_email --status all": {"command": "jobs.list", "type": "send_email", "status": "all"},
    "status": {"command": "status"},
}


class Sink:
    """A queue that takes what it is given, and remembers how many messages that were by the name of the queue."""

    dead_letters: Any = None

    def __init__(self) -> None:
        self.sent: list[str] = []
        self._name = ""

    def named(self, name: str) -> "Sink":
        """Return the queue of this name."""
        self._name = name
        return self

    def send(self, messages: Sequence[Any], *, delays_ms: Iterable[float]) -> None:  # noqa: ARG002 (a queue's)
        """Take the messages."""
        self.sent += [self._name] * len(messages)


def main() -> None:
    """Measure and print."""
    command.run(measure, __doc__, SIZES)


def measure(sizes: argparse.Namespace) -> Part:
    """Dispatch beside more and more jobs, and look at all of them."""
    large = find(sizes.server).large
    with tempfile.TemporaryDirectory() as folder, database(sizes.server, options=large) as url:
        base = {**os.environ, "DATABASE_URL": url}
        enter(local_environment(base, endpoint="http://127.0.0.1:9", folder=Path(folder)))
        engine = engine_for(url)
        migrations.upgrade(engine)
        ten = {"no other job": [send_ten(engine) for _ in range(sizes.rounds)]}
        fill(engine, sizes.paused, type_="paused", status="pending", dispatch_at="seq")
        pause(engine, "paused")
        ten[f"{sizes.paused:,} paused jobs"] = [send_ten(engine) for _ in range(sizes.rounds)]
        empty(engine)
        fill(engine, sizes.due, type_="work", status="pending", dispatch_at="seq")
        turns = {f"{sizes.due:,} due jobs": [send_priority(engine) for _ in range(sizes.rounds)]}
        empty(engine)
        # In part pending, with messages on their way; most of them completed, and some dead.
        for share, status, dispatch_at in (
            (0.97, "completed", "NULL"),
            (0.02, "pending", "later"),
            (0.01, "dead", "NULL"),
        ):
            fill(engine, int(sizes.jobs * share), type_="send_email", status=status, dispatch_at=dispatch_at)
        looks = {name: [{"time": look(request)} for _ in range(sizes.rounds)] for name, request in LOOKS.items()}
        told = machine(url)
    tables: tuple[Table, ...] = (
        tabulate(
            "ten jobs sent beside", (TIME,), ten, ratios=[Ratio(name="× alone", column="time", to="no other job")]
        ),
        tabulate("ten priority jobs sent beside", TURN, turns),
        tabulate(f"with {sizes.jobs:,} jobs", (TIME,), looks),
    )
    return Part(about=f"Dispatch and an operator's looks, {sizes.rounds} rounds.", machine=told, tables=tables)


def fill(engine: Engine, count: int, *, type_: str, status: str, dispatch_at: str) -> None:
    """Record jobs, a second apart, the last of them now; `dispatch_at` is `seq` for when they were created."""
    now_ms = SystemClock().now_ms()
    created = f"{now_ms} - ({count} - seq) * 1000"
    due = {"seq": created, "later": str(now_ms + 6 * HOUR_MS)}.get(dispatch_at, dispatch_at)
    ended = created if status in {"completed", "dead"} else "NULL"
    # Ids that ascend, as those of UUID's version 7.
    prefix = f"{engine_count(engine):08x}"
    for first in range(0, count, CHUNK):
        of_chunk = numbers(min(CHUNK, count - first))
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO jobs (id, type, data, status, created_at, dispatch_at, ended_at, completed_at)"  # noqa: S608
                    f" SELECT CONCAT('{prefix}', '-0000-7000-8000-', LPAD(HEX(seq), 12, '0')), '{type_}',"
                    f" CONCAT('{{\"user_id\": \"', {mixed('seq')}, '\"}}'), '{status}', {created}, {due}, {ended},"
                    f" {ended} FROM (SELECT seq + {first} AS seq FROM {of_chunk}) AS shifted ORDER BY seq"
                )
            )
    with engine.begin() as connection:
        connection.execute(text("ANALYZE TABLE jobs")).all()


def engine_count(engine: Engine) -> int:
    """Return how many jobs there are."""
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT COUNT(*) FROM jobs")).scalar_one())


def empty(engine: Engine) -> None:
    """Forget all jobs and pauses."""
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE TABLE jobs"))
        connection.execute(text("DELETE FROM pauses"))


def pause(engine: Engine, type_: str) -> None:
    """Pause a type of jobs."""
    with engine.begin() as connection:
        row = {"name": type_, "at": SystemClock().now_ms()}
        pausing = "INSERT INTO pauses (kind, name, reason, paused_at) VALUES ('job', :name, 'measuring', :at)"
        connection.execute(text(pausing), row)


def send_ten(engine: Engine) -> dict[str, float]:
    """Let ten jobs fall due, and have dispatch send them; return what that took."""
    with Database(engine, SystemClock()).begin() as connection:
        enqueue_many(connection, [Job(type="send_email", payload={}) for _ in range(BATCH)])
    sink, began = Sink(), time.perf_counter()
    queues: Any = sink
    send_backlogs(Database(engine, SystemClock()), queues, clock=SystemClock(), breaker_of=lambda _: None)
    seconds = time.perf_counter() - began
    if len(sink.sent) != BATCH:
        raise SystemExit(f"dispatch has sent {len(sink.sent)} jobs instead of {BATCH}")
    return {"time": 1000 * seconds}


def send_priority(engine: Engine) -> dict[str, float]:
    """Enqueue ten priority jobs, and let dispatch send until they are gone; return how many went before."""
    with Database(engine, SystemClock()).begin() as connection:
        enqueue_many(connection, [Job(type="send_email", payload={}, queue="priority") for _ in range(BATCH)])
    sink, began = Sink(), time.perf_counter()
    queues: Any = sink
    send_backlogs(
        Database(engine, SystemClock()),
        queues,
        clock=SystemClock(),
        breaker_of=lambda _: None,
        is_out_of_time=lambda: sink.sent.count("priority") >= BATCH,
    )
    seconds = time.perf_counter() - began
    last = len(sink.sent) - sink.sent[::-1].index("priority")
    return {"sent before": last - BATCH, "time": 1000 * seconds}


def look(request: dict[str, Any]) -> float:
    """Ask as an operator does; return the milliseconds."""
    context = from_lambda(LocalContext(function_name="operate"))
    began = time.perf_counter()
    operate(request, context, project_schedules(), project_parts())
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
