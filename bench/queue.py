"""Jobs that do nothing, by the guide's polling loop and by others: what each costs, and who performs jobs twice.

python -m bench.queue [--jobs 1000] [--shared 4000] [--rounds 3]

Every round runs each contender once, in an order of its own, so that a busy minute of the machine touches all of them.
All of them twice: on a database and a Redis that have on disk what they acknowledge, and on ones that flush in their
own time. The rivals have one worker process, with one thread, and a Redis of their own. All jobs are enqueued
beforehand; starting processes does not count. Ours are given the batches that Lambda's trigger would take from SQS for
them. Several workers share the messages, as SQS deals them out. Apart from that, SQS's promise to deliver at least once
is taken to its end: each of the workers is given every message, all of them as if for the first time.
"""

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench import command
from bench.machine import machine
from bench.ours import measure_enqueueing, run_ours
from bench.report import Column, Part, Ratio, Table
from bench.rivals import guide_loop
from bench.rivals.contest import PROJECT, Contender, Taken, race
from bench.rivals.environment import RIVALS, rivals_python
from bench.servers import DURABLE, database, flush, installed
from bench.tabulate import tabulate
from nightshift.local.servers import redis_server

GUIDE, OURS = "the guide's loop", "Nightshift"
DURABLE_REDIS = ("--appendonly", "yes", "--appendfsync", "always")


SIZES = {"jobs": (1000, 40), "shared": (4000, 80), "rounds": (3, 1)}
WORKERS, COPIES = (1, 2, 4, 8), (2, 4, 8)
SPEED = (Column(name="jobs", unit="a second"), Column(name="a job", unit="µs"))
CLASHES = (Column(name="jobs", unit="a second"), Column(name="done twice", unit="jobs", decimals=0))
FASTER = Ratio(name=f"× {GUIDE}", column="jobs", to=GUIDE)


def main() -> None:
    """Measure and print."""
    command.run(measure, __doc__, SIZES)


def measure(sizes: argparse.Namespace) -> Part:
    """Let all contend."""
    rivals, left_out = rivals_of(sizes.server, quick=sizes.quick)
    workers, copies = (WORKERS[:2], COPIES[:1]) if sizes.quick else (WORKERS, COPIES)
    with database(sizes.server, options=DURABLE) as url:
        guides = [Contender(name=tell_workers(n), run=partial(run_guide, url, n)) for n in workers]
        sharing = [Contender(name=tell_workers(n), run=partial(run_ours, url, n)) for n in workers]
        copied = [
            Contender(name=f"{n} workers, {n} deliveries of each", run=partial(run_ours, url, n, is_copied=True))
            for n in copies
        ]
        on_disk = [
            Contender(name=GUIDE, run=partial(run_guide, url, 1)),
            Contender(name=OURS, run=partial(run_ours, url, 1)),
            Contender(name=f"{OURS}, from its outbox", run=partial(run_ours, url, 1, from_outbox=True)),
            *(Contender(name=name, run=partial(run, *DURABLE_REDIS)) for name, run in rivals.items()),
        ]
        hasty = [
            Contender(name=GUIDE, run=partial(hastily, url, partial(run_guide, url, 1))),
            Contender(name=OURS, run=partial(hastily, url, partial(run_ours, url, 1))),
            *(Contender(name=name, run=run) for name, run in rivals.items()),
        ]
        taken = race_all([*on_disk, *hasty], jobs=sizes.jobs, rounds=sizes.rounds)
        taken |= race_all([*guides, *sharing, *copied], jobs=sizes.shared, rounds=sizes.rounds)
        enqueueing = [measure_enqueueing(url, sizes.jobs) for _ in range(sizes.rounds)]
        told = machine(url)

    def of(what: str, contenders: list[Contender], columns: tuple[Column, ...], *ratios: Ratio) -> Table:
        return tabulate(what, columns, {each.name: taken[each] for each in contenders}, ratios=ratios)

    more = Ratio(name="× one worker", column="jobs", to=tell_workers(1))
    ways = {way: [{"jobs": each[way]} for each in enqueueing] for way in enqueueing[0]}
    tables = (
        of("one worker, on disk at once", on_disk, SPEED, FASTER),
        of("one worker, on disk in its time", hasty, SPEED, FASTER),
        of(f"{GUIDE}, its workers polling one table", guides, CLASHES, more),
        of(f"{OURS}, each message to one of its workers", sharing, CLASHES, more),
        of(f"{OURS}, every message to each of its workers", copied, CLASHES),
        tabulate("enqueueing in a transaction", SPEED[:1], ways),
    )
    about = f"{sizes.jobs:,} jobs that do nothing, {sizes.shared:,} for several workers; {sizes.rounds} rounds."
    return Part(about=about, machine=told, tables=tables, left_out=left_out)


def tell_workers(count: int) -> str:
    """Return what a row with so many workers is called."""
    return f"{count} worker{'s' * (count > 1)}"


def rivals_of(server: str | None, *, quick: bool) -> tuple[dict[str, Callable[..., Taken]], tuple[str, ...]]:
    """Return how other libraries do it, by name and version, or why they do not."""
    names = ", ".join(f"{name} {version}" for name, version in RIVALS.items())
    if server not in {None, *installed()[:1]}:
        return {}, (f"{names}, which need no such server: they stand beside the other one.",)
    if quick:
        return {}, (f"{names}, which need an environment of their own.",)
    try:
        python = rivals_python(PROJECT / ".venv-bench")
    except (OSError, subprocess.CalledProcessError) as error:
        return {}, (f"{names}, whose environment could not be set up: {error}.",)
    return {f"{name} {version}": partial(run_rival, python, name) for name, version in RIVALS.items()}, ()


def run_guide(url: str, workers: int, jobs: int) -> Taken:
    """Fill the guide's table anew, and let as many processes poll it."""
    guide_loop.fill(url, jobs)
    return race([[sys.executable, "-m", "bench.rivals.guide_loop", url]] * workers)


def hastily(url: str, run: Callable[[int], Taken], jobs: int) -> Taken:
    """Run it while the server flushes its log once a second, as a Redis without a log may lose what it said."""
    flush(url, at_once=False)
    try:
        return run(jobs)
    finally:
        flush(url, at_once=True)


def run_rival(python: Path, name: str, *options: str | int) -> Taken:
    """Let another library's worker have a Redis of its own, with these options; the last says how many jobs."""
    *redis_options, jobs = map(str, options)
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder), *redis_options) as url:
        return race([[str(python), "-m", f"bench.rivals.{name}_", url, jobs]])


def race_all(contenders: list[Contender], *, jobs: int, rounds: int) -> dict[Contender, list[dict[str, float]]]:
    """Run every contender in every round, and return what each round took."""
    taken: dict[Contender, list[dict[str, float]]] = {contender: [] for contender in contenders}
    for _ in range(rounds):
        for contender in random.sample(contenders, len(contenders)):
            done = contender.run(jobs)
            speed = {"jobs": jobs / done.seconds, "a job": 1e6 * done.seconds / jobs}
            taken[contender].append(speed | {"done twice": done.executions - jobs})
    return taken


if __name__ == "__main__":
    main()
