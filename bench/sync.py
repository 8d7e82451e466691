"""The external sync beside the guide's way: each item by itself, looked for and then written.

python -m bench.sync [--items 50000] [--sample 3000] [--rounds 3] [--many 200000]

Both read the same items from the same HTTP server, each in a process of its own; starting it does not count. What the
guide's way takes for each item does not depend on how many there are, so it is measured with a sample. It commits every
item, and the server, as by default, then waits for the disk; both are measured once more where it does not. Beside the
time on the clock stands that of the processors, of client and server together, which other work on the machine does
not lengthen, nor a slow disk.
"""

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sqlalchemy import text

from bench import command
from bench.child import processor_seconds, result_of
from bench.items import served, write_items
from bench.machine import machine
from bench.report import Column, Part, Ratio, Table
from bench.servers import database, flush
from bench.sync_ways import GUIDE, OURS
from bench.tabulate import tabulate
from chalicelib import migrations
from chalicelib.core.engine import engine_for
from nightshift.local.environment import enter, isolated, local_environment

GUIDE_TABLE = (
    "CREATE TABLE IF NOT EXISTS guide.external_data (id CHAR(36) PRIMARY KEY, "
    "external_id VARCHAR(255) NOT NULL UNIQUE, data MEDIUMTEXT NOT NULL, synced_at BIGINT NOT NULL)"
)
# Of a child: seconds on the clock, those of the processors (the server's too), and MiB.
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
    with tempfile.TemporaryDirectory() as made, served(Path(made)) as url, database(sizes.server, Path(made)) as own:
        folder = Path(made)
        # Nothing of AWS is called.
        base = isolated(os.environ) | {"DATABASE_URL": own}
        enter(base | local_environment(base, endpoint="http://127.0.0.1:9", folder=folder))
        for count in {sizes.items, sizes.sample, sizes.many}:
            write_items(folder / f"{count}.json", count, version=1)
        for count in {sizes.items, sizes.sample}:
            write_items(folder / f"{count}-changed.json", count, version=2)
        do = partial(run_child, int((folder / "server.pid").read_text(encoding="ascii")))
        tables = []
        for name, at_once in (("on disk at once", True), ("on disk in its time", False))[: 1 if sizes.quick else 2]:
            flush(own, at_once=at_once)
            taken = compare(do, url, counts={GUIDE: sizes.sample, OURS: sizes.items}, rounds=sizes.rounds)
            tables += [tell(f"{when}, {name}", taken[when]) for when in TIMES]
        tables.append(take_many(do, url, folder / f"{sizes.many}.json", rounds=sizes.rounds))
        told = machine(own)
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


def run_child(server: int, way: str, argument: str) -> Taken:
    """Do something in a fresh process; `server` is the database server's process id."""
    before = processor_seconds(server)
    taken: Taken = result_of([sys.executable, "-m", "bench.sync_ways", way, argument])
    if way == "parse":
        # The server has no part in it.
        return taken
    return taken | {"of processors": taken["of processors"] + processor_seconds(server) - before}


def empty() -> None:
    """Make the tables of both, with nothing in them."""
    engine = engine_for(os.environ["DATABASE_URL"])
    migrations.upgrade(engine)
    tables = ("guide.external_data", "external_data", "sync_states", "quarantine", "runs")
    with engine.begin() as connection:
        for sql in ("CREATE DATABASE IF NOT EXISTS guide", GUIDE_TABLE, *(f"TRUNCATE {table}" for table in tables)):
            connection.execute(text(sql))


if __name__ == "__main__":
    main()
