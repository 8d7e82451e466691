"""python -m bench [PART ...] [--server NAME] [--quick] [--write docs]: all that is measured, in one report."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.markdown import as_markdown, sections
from bench.running import run_all
from bench.servers import NAMES, installed
from bench.stored import as_json
from scale.document import fill

# In the order in which they run and are told; what a month costs is reckoned from what the others have measured.
PARTS = {
    name: f"bench.{name}"
    for name in (
        "digest",
        "queue",
        "sync",
        "cleanup",
        "reports",
        "warming",
        "backup",
        "restore",
        "backlog",
        "migrating",
        "cold_start",
        "package",
        "cost",
    )
}
# What hardly differs from one database server to another, and what would take hours on each.
ONCE = ("backlog", "migrating", "cold_start", "package", "cost")


def main(words: Sequence[str], parts: Mapping[str, str], servers: Sequence[str]) -> int:
    """Measure on each server, print and write; return 1 if a part failed, and then write nothing."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"only these, of {', '.join(parts)}")
    parser.add_argument("--server", choices=NAMES, help="only on this one; else on each that is installed")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything works")
    parser.add_argument("--write", type=Path, help="the folder of speed.md and bench.json")
    asked = parser.parse_args(words)
    if asked.write and (asked.part or asked.quick or asked.server):
        parser.error("only a whole bench is written: leave out --write, or --quick, --server and the parts")
    if unknown := set(asked.part) - set(parts):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    chosen = {name: parts[name] for name in asked.part or parts}
    report = run_all(chosen, quick=asked.quick, servers=[asked.server] if asked.server else servers, once=ONCE)
    print(as_markdown(report))
    if report.failed:
        print(f"bench: failed: {', '.join(report.failed)}; nothing was written", file=sys.stderr)
        return 1
    if asked.write:
        page = asked.write / "speed.md"
        page.write_text(fill(page.read_text(encoding="utf-8"), sections(report), mark="bench"), encoding="utf-8")
        (asked.write / "bench.json").write_text(as_json(report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], PARTS, installed()))
