"""Each migration of tables with millions of rows, and how long a writer waits meanwhile.

python -m bench.migrating [--rows 5000000]

The application has the guide's `jobs`, with data of type TEXT, and `external_data`, both with rows of its own; so has
`runs` once it is there. The writer changes rows of each by their keys, and inserts jobs, one statement after the other.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pymysql
from alembic import command as alembic
from sqlalchemy import Engine, inspect, text

from bench import command
from bench.cleanup import connect, read
from bench.machine import machine
from bench.report import Column, Part
from bench.servers import database, find, mixed, numbers
from bench.tabulate import tabulate
from chalicelib import migrations
from chalicelib.core.engine import engine_for
from nightshift.local.environment import enter, isolated

SIZES = {"rows": (5_000_000, 2000)}
COLUMNS = (
    Column(name="time", unit="s"),
    Column(name="statements of the writer", decimals=0),
    Column(name="longest wait", unit="ms"),
)
VERSIONS = Path(migrations.__file__).parent / "versions"
# A slow machine would take longer over a million rows than a connection waits for an answer.
CHUNK = 100_000
LOCK_WAIT_TIMEOUT = 1205
# A row of each table, by the number `seq`, and the columns that it has; `id` is that of every table.
ROWS = {
    "jobs": (
        "type, data, status, created_at",
        "'send_email', CONCAT('{{\"to\": \"', {mixed}, '\"}}'), 'completed', seq",
    ),
    "external_data": ("external_id, data, synced_at", "seq, CONCAT('{{\"hash\": \"', {mixed}, '\"}}'), seq"),
    "runs": (
        "task, scheduled_for, `trigger`, status, attempt, failures, lease_until, request_id, started_at, finished_at",
        "'cache_warming', seq, 'schedule', 'succeeded', 1, 0, 0, '', seq, seq",
    ),
}
# As an application has them that follows the guide.
GUIDE = (
    "CREATE TABLE jobs (id CHAR(36) PRIMARY KEY, type VARCHAR(64) NOT NULL, data TEXT NOT NULL,"
    " status VARCHAR(16) NOT NULL, created_at BIGINT NOT NULL, completed_at BIGINT)",
    "CREATE TABLE external_data (id CHAR(36) PRIMARY KEY, external_id VARCHAR(255) NOT NULL UNIQUE,"
    " data TEXT NOT NULL, synced_at BIGINT NOT NULL)",
)
TOUCHED = {"jobs": "created_at", "external_data": "synced_at", "runs": "started_at"}


def main() -> None:
    """Measure and print."""
    command.run(measure, __doc__, SIZES)


def measure(sizes: argparse.Namespace) -> Part:
    """Fill the tables that there are, and make each migration beside a writer."""
    enter(isolated(os.environ))
    taken: dict[str, list[dict[str, float]]] = {}
    large = find(sizes.server).large
    with tempfile.TemporaryDirectory() as folder, database(sizes.server, options=large) as url:
        engine = engine_for(url)
        with engine.begin() as connection:
            for statement in GUIDE:
                connection.execute(text(statement))
        filled: set[str] = set()
        for name in sorted(path.stem for path in VERSIONS.glob("0*.py")):
            revision = name.partition("_")[0]
            if not filled:
                # The first creates the other tables of the guide.
                upgrade(engine, revision)
            else:
                taken[name] = [beside_a_writer(engine, url, revision, Path(folder))]
            filled |= fill(engine, rows=sizes.rows, filled=filled)
        told = machine(url)
    about = f"{sizes.rows:,} rows in each of {', '.join(ROWS)}."
    return Part(about=about, machine=told, tables=(tabulate("", COLUMNS, taken),))


def upgrade(engine: Engine, revision: str) -> None:
    """Bring the database to a revision, as `nightshift migrate` brings it to the newest."""
    to_revision = alembic.upgrade
    with patch.object(alembic, "upgrade", lambda config, _: to_revision(config, revision)):
        migrations.upgrade(engine)


def fill(engine: Engine, *, rows: int, filled: set[str]) -> set[str]:
    """Fill those tables that there are and that are not filled yet; return their names."""
    found = {name for name in ROWS if inspect(engine).has_table(name)} - filled
    for name in found:
        columns, values = ROWS[name]
        for first in range(0, rows, CHUNK):
            of_chunk = f"(SELECT seq + {first} AS seq FROM {numbers(min(CHUNK, rows - first))}) AS shifted"  # noqa: S608
            with engine.begin() as connection:
                connection.exec_driver_sql(
                    f"INSERT INTO {name} (id, {columns}) SELECT {id_of('seq')},"  # noqa: S608 (our own names)
                    f" {values.format(mixed=mixed('seq'))} FROM {of_chunk} ORDER BY 1"
                )
        with engine.begin() as connection:
            connection.exec_driver_sql(f"ANALYZE TABLE {name}").all()
    return found


def id_of(seq: str) -> str:
    """Return what makes the id of a row: ids ascend, as those of UUID's version 7."""
    return f"CONCAT('00000000-0000-7000-8000-', LPAD(HEX({seq}), 12, '0'))"


def beside_a_writer(engine: Engine, url: str, revision: str, folder: Path) -> dict[str, float]:
    """Make one migration while another process writes; return what it took, and how long the writer waited."""
    stop = folder / "stop"
    stop.unlink(missing_ok=True)
    tables = [name for name in ROWS if inspect(engine).has_table(name)]
    child = [sys.executable, "-m", "bench.migrating", "--child", url, str(stop), *tables]
    writer = subprocess.Popen(child, stdout=subprocess.PIPE, text=True)
    if writer.stdout is None or not writer.stdout.readline():
        raise SystemExit("the writer ended before its time")
    began = time.perf_counter()
    try:
        upgrade(engine, revision)
        seconds = time.perf_counter() - began
    finally:
        stop.touch()
        waits = read(writer)["waits"]
    return {"time": seconds, "statements of the writer": len(waits), "longest wait": max(waits)}


def write(url: str, stop: str, *tables: str) -> dict[str, Any]:
    """Change rows and insert jobs until told to stop; return how long each statement took, in ms."""
    waits: list[float] = []
    with connect(url) as connection, connection.cursor() as cursor:
        statements = [
            *(f"UPDATE {name} SET {TOUCHED[name]} = {TOUCHED[name]} + 1 WHERE id = {id_of('%s')}" for name in tables),  # noqa: S608
            "INSERT INTO jobs (id, type, data, status, created_at) VALUES (UUID(), 'noop', %s, 'completed', 0)",
        ]
        print("ready", flush=True)
        while not Path(stop).exists():
            for statement in statements:
                began = time.perf_counter()
                try:
                    cursor.execute(statement, (len(waits) % 1000 + 1,))
                except pymysql.err.OperationalError as error:
                    # It waited for longer than the server lets it, and is turned away.
                    if error.args[0] != LOCK_WAIT_TIMEOUT:
                        raise
                waits.append(1000 * (time.perf_counter() - began))
            time.sleep(0.001)
    return {"waits": waits}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(write(*sys.argv[2:])))
    else:
        main()
