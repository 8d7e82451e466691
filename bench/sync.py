"""The external sync on MariaDB, beside the guide's way: each item by itself, looked for and then written.

python -m bench.sync [--items 50000] [--sample 3000] [--rounds 3] [--many 200000]

Both read the same items from the same HTTP server, each in a process of its own; starting it does not count. What the
guide's way takes for each item does not depend on how many there are, so it is measured with a sample. It commits every
item, and MariaDB, as by default, then waits for the disk; both are measured once more where it does not. Beside the
time on the clock stands that of the processors, of client and server together, which other work on the machine does
not lengthen, nor a slow disk.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen
from uuid import uuid4

from bench import command
from bench.child import result_of
from bench.machine import machine
from bench.memory import peak_mib
from bench.report import Column, Part, Ratio, Table
from bench.tabulate import tabulate
from chalicelib.clock import iso
from nightshift.local.environment import enter, isolated, local_environment
from nightshift.local.invocation import LocalContext
from nightshift.local.servers import mariadb_server

GUIDE_TABLE = (
    "CREATE TABLE IF NOT EXISTS guide.external_data (id CHAR(36) PRIMARY KEY, "
    "external_id VARCHAR(255) NOT NULL UNIQUE, data MEDIUMTEXT NOT NULL, synced_at BIGINT NOT NULL)"
)
GUIDE, OURS = "the guide's loop", "external_sync"
# Of a child: seconds on the clock, those of the processors (MariaDB's too), and MiB.
Taken = dict[str, float]


SIZES = {"items": (50_000, 300), "sample": (3_000, 50), "rounds": (3, 1), "many": (200_000, 1000)}
TIMES = ("all new", "unchanged", "changed")
EACH = (Column(name="an item", unit="µs"), Column(name="of processors", unit="µs"))
MANY = (Column(name="time", unit="s"), Column(name="of processors", unit="s"), Column(name="memory", unit="MiB"))


def main() -> None:
    """Measure and print."""
    command.run(measure, __doc__, SIZES)


def measure(sizes: argparse.Namespace) -> Part:
    """Let both take the same items from one server, on a disk that is waited for and on one that is not."""
    with tempfile.TemporaryDirectory() as made, served(Path(made)) as url, mariadb_server(Path(made)) as database:
        folder = Path(made)
        # Nothing of AWS is called.
        base = isolated(os.environ) | {"DATABASE_URL": database}
        enter(base | local_environment(base, endpoint="http://127.0.0.1:9", folder=folder))
        for count in {sizes.items, sizes.sample, sizes.many}:
            write_items(folder / f"{count}.json", count, version=1)
        for count in {sizes.items, sizes.sample}:
            write_items(folder / f"{count}-changed.json", count, version=2)
        do = partial(run_child, int((folder / "mariadb.pid").read_text(encoding="ascii")))
        tables = []
        for name, setting in (("on disk at once", 1), ("on disk in its time", 0))[: 1 if sizes.quick else 2]:
            flush(str(setting))
            taken = compare(do, url, counts={GUIDE: sizes.sample, OURS: sizes.items}, rounds=sizes.rounds)
            tables += [tell(f"{when}, {name}", taken[when]) for when in TIMES]
        tables.append(take_many(do, url, folder / f"{sizes.many}.json", rounds=sizes.rounds))
        told = machine(database)
    about = (
        f"{sizes.items:,} items, {sizes.sample:,} for {GUIDE}, and {sizes.many:,} at once; {sizes.rounds} rounds. "
        "Processors are client's and server's."
    )
    return Part(about=about, machine=told, tables=tuple(tables))


def compare(
    do: Callable[[str, str], Taken], url: str, *, counts: dict[str, int], rounds: int
) -> dict[str, dict[str, list[Taken]]]:
    """Let both take the items for the first time, once more unchanged, and all changed; return µs an item of each."""
    taken: dict[str, dict[str, list[Taken]]] = {when: {way: [] for way in counts} for when in TIMES}
    for _ in range(rounds):
        for way in random.sample(list(counts), 2):
            empty()
            for when in TIMES:
                ending = "-changed" if when == "changed" else ""
                done = do(way, f"{url}/{counts[way]}{ending}.json")
                each = {"an item": done["time"], "of processors": done["of processors"]}
                taken[when][way].append({name: 1e6 * seconds / counts[way] for name, seconds in each.items()})
    return taken


def tell(what: str, taken: dict[str, list[Taken]]) -> Table:
    """Return the table of what both took."""
    ratios = [
        Ratio(name=f"times as fast{by}", column=column.name, to=GUIDE, inverse=True)
        for column, by in zip(EACH, ("", ", of processors"), strict=True)
    ]
    return tabulate(what, EACH, taken, ratios=ratios)


def take_many(do: Callable[[str, str], Taken], url: str, path: Path, *, rounds: int) -> Table:
    """Return what it takes to parse and to sync many items in one answer."""
    whole = f"{url}/{path.name}"
    taken: dict[str, list[Taken]] = {"parsing alone": [], "a snapshot, all new": [], "a snapshot, unchanged": []}
    for _ in range(rounds):
        empty()
        for name, (way, argument) in zip(taken, (("parse", str(path)), *[("snapshot", whole)] * 2), strict=True):
            taken[name].append(do(way, argument))
    return tabulate("all in one answer", MANY, taken)


def write_items(path: Path, count: int, *, version: int) -> None:
    """Write a JSON list of posts as an API lists them, some 230 bytes each."""
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            item: dict[str, Any] = {
                "id": str(n),
                "title": f'Post number {n}, about "things" ü',
                "author": f"user{n % 1000}",
            }
            item |= {
                "points": version * (n % 977 + 1),
                "url": f"https://example.com/posts/{n}",
                "updated_at": 1_456_000_000_000 + n,
            }
            item |= {"tags": ["a", "b"], "meta": {"lang": "en", "score": n / 7}}
            file.write(("," if n else "[") + json.dumps(item, ensure_ascii=False, separators=(",", ":")))
        file.write("]")


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, those that end in .json as JSON, and whole even where they have not changed."""

    def do_GET(self) -> None:
        del self.headers["If-Modified-Since"]
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder's files; give the URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def run_child(server: int, way: str, argument: str) -> Taken:
    """Do something in a fresh process; `server` is MariaDB's process id."""

    def served() -> float:
        fields = Path(f"/proc/{server}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = served()
    taken: Taken = result_of([sys.executable, "-m", "bench.sync", "--child", way, argument])
    # MariaDB has no part in what is parsed only.
    return taken | ({} if way == "parse" else {"of processors": taken["of processors"] + served() - before})


def sync(url: str, *, is_snapshot: bool) -> None:
    """Run the task once for a source of this URL."""
    from chalicelib import runs
    from chalicelib.context import from_lambda
    from chalicelib.sync import sources

    source = sources.Source(name="default", url=url, is_internal=True, is_snapshot=is_snapshot, seconds=3600.0)
    sources.SOURCES = (source,)
    # A minute that no other run of this benchmark has, and all the time there is.
    moment = iso(datetime.now(UTC) - timedelta(minutes=time.time_ns() // 1_000_000 % 10**7))
    context = from_lambda(LocalContext(function_name="external_sync", started=time.monotonic() + 10**6))
    summary = runs.execute("external_sync", event={"scheduled_for": moment}, context=context)
    if summary["outcome"] != "succeeded":
        sys.exit(str(summary))


def guide(url: str) -> None:
    """Fetch all, and look for each item before it is inserted or updated, as the guide does."""
    import pymysql

    server = urlsplit(os.environ["DATABASE_URL"])
    address: Any = {"host": server.hostname, "port": server.port, "user": server.username, "autocommit": True}
    # On one machine nobody encrypts; it would take a few of the guide's microseconds.
    address["ssl_disabled"] = True
    with urlopen(url) as answer:  # noqa: S310 (our own server)
        items = json.loads(answer.read())
    with pymysql.connect(**address) as connection, connection.cursor() as cursor:
        for item in items:
            data, now_ms = json.dumps(item), time.time_ns() // 1_000_000
            cursor.execute("SELECT id FROM guide.external_data WHERE external_id = %s", (item["id"],))
            found = cursor.fetchone()
            if found:
                update = "UPDATE guide.external_data SET data = %s, synced_at = %s WHERE id = %s"
                cursor.execute(update, (data, now_ms, found[0]))
            else:
                insert = "INSERT INTO guide.external_data (id, external_id, data, synced_at) VALUES (%s, %s, %s, %s)"
                cursor.execute(insert, (str(uuid4()), item["id"], data, now_ms))


def empty() -> None:
    """Make the tables of both, with nothing in them."""
    from sqlalchemy import text

    from chalicelib import migrations
    from chalicelib.engine import engine_for

    engine = engine_for(os.environ["DATABASE_URL"])
    migrations.upgrade(engine)
    tables = ("guide.external_data", "external_data", "sync_states", "quarantine", "runs")
    with engine.begin() as connection:
        for sql in ("CREATE DATABASE IF NOT EXISTS guide", GUIDE_TABLE, *(f"TRUNCATE {table}" for table in tables)):
            connection.execute(text(sql))


def parse(path: str) -> None:
    """Split a file into its items, and read each."""
    from chalicelib.sync.items import Reader
    from chalicelib.sync.sources import Source
    from chalicelib.sync.splitting import Splitter

    reader = Reader(Source(name="default", url="https://example.com", changed_field="updated_at", changed_unit="ms"))
    with Path(path).open("rb") as file:
        for found in Splitter(iter(partial(file.read, 65_536), b""), key="items"):
            for item in found:
                reader.read(item)


def flush(setting: str) -> None:
    """Have the server write every commit to the disk at once, 1, or once a second, 0."""
    from sqlalchemy import text

    from chalicelib.engine import engine_for

    with engine_for(os.environ["DATABASE_URL"]).begin() as connection:
        connection.execute(text(f"SET GLOBAL innodb_flush_log_at_trx_commit = {setting}"))


WAYS: dict[str, Callable[[str], None]] = {
    GUIDE: guide,
    OURS: partial(sync, is_snapshot=False),
    "snapshot": partial(sync, is_snapshot=True),
    "parse": parse,
}


def be_child(way: str, argument: str) -> None:
    """Do it, and print what it took as the last line."""
    # What a warm function has imported already.
    import chalicelib.queue.payloads
    import chalicelib.sync.reading
    import chalicelib.tasks.external_sync  # noqa: F401

    started, was_busy = time.perf_counter(), time.process_time()
    WAYS[way](argument)
    seconds, busy = time.perf_counter() - started, time.process_time() - was_busy
    print(json.dumps({"time": seconds, "of processors": busy, "memory": peak_mib()}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        be_child(*sys.argv[2:])
    else:
        main()
