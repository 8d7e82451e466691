"""`python -m soak`: up to a year in minutes, on servers of its own, with everything failing that may fail."""

import argparse
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.machine import machine
from nightshift.local.servers import NotInstalledError
from soak.inspection import inspect
from soak.report import Report, as_markdown, failures, write
from soak.settings import START
from soak.year import CALM_DAYS, Year, year

# Of the minutes; what is left is for the calm days, and for restoring all backups.
SHARE = 0.9
# With the calm ones a year, since the cleanup forgets runs and digests that are older, by which it is inspected.
DAYS = 365 - CALM_DAYS
MOST_TOLD = 20


def main() -> int:
    """Live it, look at what it has left, tell, and return 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long it may take, about")
    parser.add_argument("--days", type=int, default=DAYS, help="how many days it lives at most, before the calm ones")
    parser.add_argument("--seed", type=int, default=1, help="which storms blow, and when")
    parser.add_argument("--write", type=Path, help="a folder for soak.md and soak.json")
    asked = parser.parse_args()
    # As Ctrl-C, so that no server outlives this.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            year(Path(folder), Path.cwd(), days=asked.days, seed=asked.seed) as lived,
        ):
            begun = time.monotonic()
            lived.live(days=asked.days, seconds=60 * asked.minutes * SHARE)
            report = _report(lived, seed=asked.seed, begun=begun)
    except NotInstalledError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    print("\n".join(as_markdown(report)))
    if asked.write:
        write(report, asked.write)
    return bool(report.broken)


def _report(lived: Year, *, seed: int, begun: float) -> Report:
    with lived.here.engine.connect() as connection:
        left = lived.left(connection)
        violations = list(inspect(left))
    told = machine(lived.here.mariadb.url, lived.here.redis.url)
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
