"""python -m bench [PART ...] [--server NAME] [--quick] [--write docs]: all that is measured, in one report."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.markdown import as_markdown, sections
from bench.running import run_all
from bench.servers import NAMES, installed
from bench.stored import as_json, read_report
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
    """Measure on each server, print and write; return 1 if a part failed, of which the older figures stay."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("part", nargs="*", help=f"only these, of {', '.join(parts)}")
    parser.add_argument("--server", choices=NAMES, help="only on this one; else on each that is installed")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything works")
    parser.add_argument("--write", type=Path, help="the folder of speed.md and bench.json")
    asked = parser.parse_args(words)
    if asked.write and (asked.quick or asked.server):
        parser.error("only full sizes on each server are written: leave out --write, or --quick and --server")
    if unknown := set(asked.part) - set(parts):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(parts)}")
    chosen = {name: parts[name] for name in asked.part or parts}
    servers = [asked.server] if asked.server else servers
    stored = asked.write / "bench.json" if asked.write else None
    known = read_report(stored) if stored and stored.exists() else None
    report = run_all(chosen, quick=asked.quick, servers=servers, once=ONCE, known=known)
    print(as_markdown(report))
    if stored:
        in_order = {name: report.parts[name] for name in parts if name in report.parts}
        written, page = replace(report, failed={}, parts=in_order), stored.with_name("speed.md")
        text = fill(page.read_text(encoding="utf-8"), sections(written, parts), mark="bench")
        page.write_text(text, encoding="utf-8")
        stored.write_text(as_json(written), encoding="utf-8")
    if report.failed:
        print(f"bench: failed: {', '.join(report.failed)}; their older figures stay", file=sys.stderr)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], PARTS, installed()))
