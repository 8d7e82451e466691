"""Deleting 150,000 of 500,000 sessions while another process writes: by one DELETE as in the guide, and by the task.

python -m bench.cleanup [--rows 500000] [--rounds 3]

The server flushes every commit, as by default. Each deletion is a process of its own, as on Lambda. The writer inserts
sessions and touches those in use, one statement after the other; what it waits is what a visitor would. How long it
waits where nobody deletes, the machine says, and whatever else is at work on it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import pymysql
from sqlalchemy import make_url

from bench import command
from bench.machine import machine
from bench.memory import peak_mib
from bench.moments import NOW
from bench.report import Column, Part, Ratio
from bench.servers import DURABLE, database, mixed_id, numbers
from bench.tabulate import tabulate
from chalicelib import migrations
from chalicelib.core.clock import iso, to_ms
from chalicelib.core.engine import engine_for
from nightshift.local.environment import enter, isolated, local_environment

NOBODY, GUIDE, OURS = "nobody deletes", "one DELETE (the guide)", "database_cleanup"
CUTOFF_MS = to_ms(NOW - timedelta(days=30))
OLD_MS, YOUNG_MS = to_ms(NOW - timedelta(days=40)), to_ms(NOW - timedelta(days=3))
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"
WARM_UP_SECONDS, ALONE_SECONDS = 1.0, 3.0


SIZES = {"rows": (500_000, 2000), "rounds": (3, 1)}
COLUMNS = (
    Column(name="deleted", unit="rows", decimals=0),
    Column(name="time", unit="s"),
    Column(name="memory", unit="MiB"),
    Column(name="usual wait", unit="ms"),
    Column(name="wait of 1 in 100", unit="ms"),
    Column(name="longest wait", unit="ms"),
)
RATIOS = (
    Ratio(name="× the guide's time", column="time", to=GUIDE),
    Ratio(name="× the guide's longest wait", column="longest wait", to=GUIDE),
)


def main() -> None:
    """Measure and print."""
    command.run(compare, __doc__, SIZES)


def compare(sizes: argparse.Namespace) -> Part:
    """Delete in each way, beside a writer."""
    enter(isolated(os.environ))
    with tempfile.TemporaryDirectory() as folder, database(sizes.server, options=DURABLE) as url:
        migrations.upgrade(engine_for(url))
        fill(url, rows=sizes.rows)
        told, ways = machine(url), (NOBODY, GUIDE, OURS)
        # A moment of its own in each round: what has run once for a moment does not run again.
        moments = [NOW + timedelta(minutes=n) for n in range(sizes.rounds)]
        rounds = [{way: measure(way, url, Path(folder), at=at) for way in ways} for at in moments]
    table = tabulate("", COLUMNS, {way: [each[way] for each in rounds] for way in ways}, ratios=RATIOS)
    about = f"{sizes.rows:,} sessions of which 30% are old, {sizes.rounds} rounds; the waits are a writer's."
    return Part(about=about, machine=told, tables=(table,))


def fill(url: str, *, rows: int) -> None:
    """Make a table of sessions to copy from, with random ids; 30 in 100 are old."""
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE all_sessions LIKE sessions")
        cursor.execute(
            "INSERT INTO all_sessions (id, user_id, user_agent, created_at, updated_at)"  # noqa: S608 (a number)
            f" SELECT {mixed_id('seq')}, UUID(), %s, %s, IF(seq %% 10 < 3, %s, %s) FROM {numbers(rows)}",
            (USER_AGENT, OLD_MS, OLD_MS, YOUNG_MS),
        )


def measure(way: str, url: str, folder: Path, *, at: datetime) -> dict[str, float]:
    """Delete what is old at a moment, beside a writer; return what it took, and how long the writer waited."""
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE sessions")
        cursor.execute("CREATE TABLE sessions LIKE all_sessions")
        cursor.execute("INSERT INTO sessions SELECT * FROM all_sessions ORDER BY id")
        cursor.execute("ANALYZE TABLE sessions")
        cursor.fetchall()
    environment = local_environment({**os.environ, "DATABASE_URL": url}, endpoint="http://127.0.0.1:1", folder=folder)
    stop = folder / "stop"
    stop.unlink(missing_ok=True)
    writer = start(environment, "write", url, str(stop))
    time.sleep(WARM_UP_SECONDS)
    done = read(start(environment, "delete", url, way, iso(at)))
    stop.touch()
    waits = sorted(read(writer)["waits"])
    wait = {"usual wait": median(waits), "wait of 1 in 100": waits[len(waits) * 99 // 100], "longest wait": waits[-1]}
    # Of nobody only the writer tells something.
    return wait if way == NOBODY else done | wait


def write(url: str, stop: str) -> dict[str, Any]:
    """Insert and update sessions until told to stop; return how long each statement took, in ms."""
    waits: list[float] = []
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM sessions WHERE updated_at > %s LIMIT 5000", (CUTOFF_MS,))
        in_use = [row[0] for row in cursor.fetchall()]
        insert = "INSERT INTO sessions VALUES (UUID(), UUID(), %s, %s, %s)"
        while not Path(stop).exists():
            began = time.perf_counter()
            if len(waits) % 2:
                cursor.execute(insert, (USER_AGENT, YOUNG_MS, YOUNG_MS))
            else:
                session = in_use[len(waits) % len(in_use)]
                cursor.execute("UPDATE sessions SET updated_at = %s WHERE id = %s", (YOUNG_MS + len(waits), session))
            waits.append(1000 * (time.perf_counter() - began))
            time.sleep(0.001)
    return {"waits": waits}


def delete(url: str, way: str, moment: str) -> dict[str, Any]:
    """Delete in this way, and return the rows, the seconds and the peak memory."""
    from chalicelib.core.context import from_lambda
    from chalicelib.runs import execution
    from nightshift.local.invocation import LocalContext

    began = time.perf_counter()
    if way == NOBODY:
        time.sleep(ALONE_SECONDS)
        deleted = 0
    elif way == GUIDE:
        with connect(url) as connection, connection.cursor() as cursor:
            deleted = cursor.execute("DELETE FROM sessions WHERE updated_at < %s", (CUTOFF_MS,))
    else:
        context = from_lambda(LocalContext(function_name="database_cleanup"))
        event = {"scheduled_for": moment, "rules": ["sessions"]}
        deleted = execution.execute("database_cleanup", event=event, context=context)["succeeded"]
    return {"deleted": deleted, "time": time.perf_counter() - began, "memory": peak_mib()}


def connect(url: str) -> "pymysql.Connection[Any]":
    """Return a connection that commits each statement, as the guide's."""
    address = make_url(url)
    where: dict[str, Any] = {"host": address.host, "port": address.port, "database": address.database}
    return pymysql.connect(user=address.username, autocommit=True, ssl_disabled=True, **where)


def start(environment: dict[str, str], *arguments: str) -> "subprocess.Popen[str]":
    """Start this module as a process that does one part."""
    child = [sys.executable, "-m", "bench.cleanup", "--child", *arguments]
    return subprocess.Popen(child, env=environment, stdout=subprocess.PIPE, text=True)


def read(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Wait for the end of a process and return what it printed last."""
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit("a part of the benchmark failed")
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


WAYS: dict[str, Callable[..., dict[str, Any]]] = {"write": write, "delete": delete}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(WAYS[sys.argv[2]](*sys.argv[3:])))
    else:
        main()
