"""Jobs that do nothing, by the guide's polling loop and by others: what each costs, and who performs jobs twice.

python -m bench.queue [--jobs 2000] [--rounds 3]

Every round runs each contender once, in an order of its own, so that a busy minute of the machine touches all of them.
All of them twice: on a MariaDB and a Redis that have on disk what they acknowledge, and on ones that flush in their own
time. The rivals have one worker process, with one thread, and a Redis of their own. All jobs are enqueued beforehand;
starting processes does not count. Ours are given the batches that Lambda's trigger would take from SQS for them, and
with several workers each is given all of them.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from bench.ours import measure_enqueueing, run_ours
from bench.rivals import guide_loop
from bench.rivals.contest import PROJECT, Contender, Taken, make_data, race
from bench.rivals.environment import RIVALS, rivals_python
from nightshift.local.servers import mariadb_server, redis_server

GUIDE, OURS = "the guide's loop", "Nightshift"
# MariaDB's own default, which mariadb_server turns off.
DURABLE = "--innodb-flush-log-at-trx-commit=1"
DURABLE_REDIS = ("--appendonly", "yes", "--appendfsync", "always")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    python = rivals_python(PROJECT / ".venv-bench")
    with tempfile.TemporaryDirectory() as folder, mariadb_server(Path(folder), DURABLE) as url:
        contenders = [
            Contender(name="no queue, only calls", run=run_calls),
            *(Contender(name=GUIDE, run=partial(run_guide, url, n), workers=n) for n in (1, 2, 4)),
            *(Contender(name=OURS, run=partial(run_ours, url, n), workers=n) for n in (1, 2, 4)),
            Contender(name=f"{OURS}, from its outbox", run=partial(run_ours, url, 1, from_outbox=True)),
            *(
                Contender(name=f"{name} {RIVALS[name]}", run=partial(run_rival, python, name, *DURABLE_REDIS))
                for name in RIVALS
            ),
        ]
        hasty = [
            Contender(name=GUIDE, run=partial(hastily, url, partial(run_guide, url, 1))),
            Contender(name=OURS, run=partial(hastily, url, partial(run_ours, url, 1))),
            *(Contender(name=f"{name} {RIVALS[name]}", run=partial(run_rival, python, name)) for name in RIVALS),
        ]
        measured = measure([*contenders, *hasty], jobs=arguments.jobs, rounds=arguments.rounds)
        enqueueing = measure_enqueueing(url, arguments.jobs)
    machine = f"Python {sys.version.split()[0]}, {os.cpu_count()} cores"
    print(f"{machine}, medians of {arguments.rounds} rounds of {arguments.jobs:,} jobs")
    tell_speed("on disk at once", {each: measured[each] for each in contenders}, jobs=arguments.jobs)
    tell_speed("on disk in its time", {each: measured[each] for each in hasty}, jobs=arguments.jobs)
    tell_duplicates({each: measured[each] for each in contenders}, jobs=arguments.jobs)
    told = ", ".join(f"{name} {rate:,.0f} a second" for name, rate in enqueueing.items())
    print(f"\nenqueueing in a transaction: {told}")


def run_calls(jobs: int) -> Taken:
    """Call a function that does nothing with the data of each job."""
    data = make_data(jobs)
    started = time.perf_counter()
    for each in data:
        do_nothing(each)
    return Taken(seconds=time.perf_counter() - started, executions=jobs)


def do_nothing(data: dict[str, str]) -> None:
    """Stand for a job."""


def run_guide(url: str, workers: int, jobs: int) -> Taken:
    """Fill the guide's table anew, and let as many processes poll it."""
    guide_loop.fill(url, jobs)
    return race([sys.executable, "-m", "bench.rivals.guide_loop", url], workers=workers)


def hastily(url: str, run: Callable[[int], Taken], jobs: int) -> Taken:
    """Run it while the server flushes its log once a second, as a Redis without a log may lose what it said."""
    setting = "SET GLOBAL innodb_flush_log_at_trx_commit = {}"
    with guide_loop.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(setting.format(0))
        try:
            return run(jobs)
        finally:
            cursor.execute(setting.format(1))


def run_rival(python: Path, name: str, *options: str | int) -> Taken:
    """Let another library's worker have a Redis of its own, with these options; the last says how many jobs."""
    *redis_options, jobs = map(str, options)
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder), *redis_options) as url:
        return race([str(python), "-m", f"bench.rivals.{name}_", url, jobs])


def measure(contenders: list[Contender], *, jobs: int, rounds: int) -> dict[Contender, Taken]:
    """Run every contender in every round, and return the medians."""
    taken: dict[Contender, list[Taken]] = {contender: [] for contender in contenders}
    for _ in range(rounds):
        for contender in random.sample(contenders, len(contenders)):
            taken[contender].append(contender.run(jobs))
    return {
        contender: Taken(
            seconds=median(each.seconds for each in of_it), executions=int(median(each.executions for each in of_it))
        )
        for contender, of_it in taken.items()
    }


def tell_speed(promise: str, measured: dict[Contender, Taken], *, jobs: int) -> None:
    """Print the speed of each contender that has one worker, under a promise of the databases."""
    alone = {contender.name: taken.seconds for contender, taken in measured.items() if contender.workers == 1}
    print(f"\n{'one worker, ' + promise:32} {'jobs/s':>12} {'µs a job':>10} {'× ' + GUIDE:>20}")
    for name, seconds in alone.items():
        print(f"{name:32} {jobs / seconds:12,.0f} {1e6 * seconds / jobs:10,.2f} {alone[GUIDE] / seconds:20,.1f}")


def tell_duplicates(measured: dict[Contender, Taken], *, jobs: int) -> None:
    """Print how often jobs were performed again, by each contender that was measured with several workers."""
    names = {contender.name for contender in measured if contender.workers > 1}
    print(f"\n{'several workers':32} {'workers':>8} {'jobs/s':>12} {'executions':>12} {'duplicates':>12}")
    for contender, taken in measured.items():
        if contender.name in names:
            print(f"{contender.name:32} {contender.workers:8} {jobs / taken.seconds:12,.0f} ", end="")
            print(f"{taken.executions:12,} {taken.executions - jobs:12,}")


if __name__ == "__main__":
    main()
