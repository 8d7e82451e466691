"""`python -m soak`: up to a year in minutes, on servers of its own, with everything failing that may fail."""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench.machine import machine
from bench.servers import NAMES, installed
from nightshift.local.servers import NotInstalledError
from soak.inspection import inspect
from soak.report import Report, failures, tell, write
from soak.settings import START
from soak.year import CALM_DAYS, Year, year

# Of the minutes; what is left is for the calm days, and for restoring all backups.
SHARE = 0.9
# With the calm ones a year, since the cleanup forgets runs and digests that are older, by which it is inspected.
DAYS = 365 - CALM_DAYS
MOST_TOLD = 20


def main() -> int:
    """Live it on each server, look at what it has left, tell, and return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--server", choices=NAMES, help="only on this database; else on each that is installed")
    parser.add_argument("--minutes", type=float, default=10, help="how long it may take on each, about")
    parser.add_argument("--days", type=int, default=DAYS, help="how many days it lives at most, before the calm ones")
    parser.add_argument("--seed", type=int, default=1, help="which storms blow, and when")
    parser.add_argument("--write", type=Path, help="a folder for soak.md and soak.json")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    asked = parser.parse_args()
    # As Ctrl-C, so that no server outlives this.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    servers = [asked.server] if asked.server else installed()
    try:
        if not servers:
            raise NotInstalledError("neither MySQL nor MariaDB is installed: run .ci/mysql, or install mariadb-server")
        if asked.json:
            print(json.dumps(asdict(_live(servers[0], asked))))
            return 0
        reports = [_live_apart(server, asked) for server in servers]
    except (NotInstalledError, subprocess.CalledProcessError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    print(tell(reports))
    if asked.write:
        write(reports, asked.write)
    return any(each.broken for each in reports)


def _live_apart(server: str, asked: argparse.Namespace) -> Report:
    # In a process of its own, since much that an environment says is read once in a process.
    options: Sequence[str] = [f"--{name}={getattr(asked, name)}" for name in ("minutes", "days", "seed")]
    command = [sys.executable, "-m", "soak", "--json", f"--server={server}", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 (this module, with numbers)
    return msgspec.json.decode(done.stdout, type=Report)


def _live(server: str, asked: argparse.Namespace) -> Report:
    with (
        tempfile.TemporaryDirectory() as folder,
        year(Path(folder), Path.cwd(), server=server, days=asked.days, seed=asked.seed) as lived,
    ):
        begun = time.monotonic()
        lived.live(days=asked.days, seconds=60 * asked.minutes * SHARE)
        return _report(lived, seed=asked.seed, begun=begun)


def _report(lived: Year, *, seed: int, begun: float) -> Report:
    with lived.here.engine.connect() as connection:
        left = lived.left(connection)
        violations = list(inspect(left))
    told = machine(lived.here.database.url, lived.here.redis.url)
    return Report(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        machine=told,
        seed=seed,
        days=(lived.now - START).days,
        seconds=round(time.monotonic() - begun),
        invocations=sum(each.invocations for each in lived.functions.values()),
        log_lines=lived.story.lines,
        failures=failures(
            rules=(lived.rules.lost, lived.rules.doubled),
            troubles=lived.weather.troubles,
            kills={name: each.kills for name, each in lived.outages.items()},
            processes=lived.killer.kills,
            pauses=lived.operator.pauses,
        ),
        found={name: dict(counts) for name, counts in left.counts.items()},
        broken=[(each.promise, each.how, list(lived.story.of(*each.words))) for each in violations[:MOST_TOLD]],
    )


if __name__ == "__main__":
    sys.exit(main())
