"""Backups of one server: ours beside its own dump through gzip and zstd, and mydumper where it is installed.

python -m bench.backup [--rows 600000] [--rounds 3]

Each way is a process, or several with pipes between them, of its own, and the ways of a round come in a random order.
`time` is that on the clock, which other work on the machine lengthens; `client` and `server` are seconds of
processors, of all that a way runs and of the server; `memory` is that of its largest process. Ours pays for more than
the others do: a row count and a checksum of each table, and a digest of each part.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql

from bench import command
from bench.child import processor_seconds, result_of
from bench.fake_s3 import fake_s3
from bench.filling import fill
from bench.machine import machine
from bench.report import Column, Part, Ratio, Table
from bench.servers import Kind, database, find
from bench.tabulate import tabulate
from nightshift.local.environment import enter, isolated

# Of a child's memory the kernel counts what its parent held at the fork, too. So the processes' own is read while they
# run.
LAUNCH = """
import json, os, subprocess, sys, threading, time
def peak(pid):
    try:
        with open(f"/proc/{pid}/status") as status, open(f"/proc/{pid}/task/{pid}/children") as children:
            own = [line.split()[1] for line in status if line.startswith("VmHWM:")]
            return max(*map(int, own), *map(peak, children.read().split()), 0, 0)
    except OSError:  # it has ended
        return 0
def watch():
    while not has_ended.wait(0.02):
        peaks.append(peak(process.pid))
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
peaks, has_ended = [peak(process.pid)], threading.Event()
threading.Thread(target=watch, daemon=True).start()
size = process.stdout.read()
_, status, used = os.wait4(process.pid, 0)  # with what its own children used
seconds = time.perf_counter() - began
has_ended.set()
if status:
    sys.exit(1)
client, memory = used.ru_utime + used.ru_stime, max(peaks) / 1024
print(json.dumps({"time": seconds, "client": client, "memory": memory, "size": int(size) / 1e6}))
"""
SIZES = {"rows": (600_000, 2000), "rounds": (3, 1)}
COLUMNS = (
    Column(name="time", unit="s"),
    Column(name="client", unit="s"),
    Column(name="server", unit="s"),
    Column(name="memory", unit="MiB"),
    Column(name="size", unit="MB"),
)


def main() -> None:
    """Measure and print."""
    command.run(measure, __doc__, SIZES)


def measure(sizes: argparse.Namespace) -> Part:
    """Back up in each way."""
    enter(isolated(os.environ))
    kind = find(sizes.server)
    usual = usual_of(kind)
    with (
        tempfile.TemporaryDirectory() as made,
        database(sizes.server, Path(made), options=kind.large) as url,
        fake_s3() as s3,
    ):
        fill(url, rows=sizes.rows)
        pid = int((Path(made) / "server.pid").read_text(encoding="ascii"))
        table = compare(ways_out(kind, url, s3, Path(made)), pid, rounds=sizes.rounds, usual=usual)
        about = f"{sizes.rows:,} rows of four tables, {sizes.rounds} rounds, without TLS."
        return Part(about=about, machine=machine(url), tables=(table,), left_out=missing("mydumper"))


def missing(program: str) -> tuple[str, ...]:
    """Return that a program is not installed, if so."""
    return () if shutil.which(program) else (f"{program}, which is not installed.",)


def usual_of(kind: Kind) -> str:
    """Return the name of what is usually done: the server's own dump, compressed."""
    return f"{Path(kind.dump).name} to zstd -3"


def ways_out(kind: Kind, url: str, s3: str, folder: Path) -> dict[str, list[str]]:
    """Return how a backup is made, by name: a program and its arguments, which prints how many bytes came out."""
    address = urlsplit(url)
    where = f"--host=127.0.0.1 --port={address.port} --user=root"
    dump = f"{kind.dump} {kind.client_options} {where} {kind.dump_options}"
    ours = [sys.executable, "-m", "bench.backup", "--child", url]
    ways = {
        f"{Path(kind.dump).name} to gzip -6": ["sh", "-c", f"{dump} nightshift | gzip -6 | wc -c"],
        usual_of(kind): ["sh", "-c", f"{dump} nightshift | zstd -3 -q | wc -c"],
        "ours, one connection": [*ours, "1", ""],
        "ours, two connections": [*ours, "2", ""],
        "ours, two, to S3": [*ours, "2", s3],
    }
    if shutil.which("mydumper"):
        out = folder / "mydumper"
        do = f"rm -rf {out}; mydumper {where} --threads=2 --compress=ZSTD --database=nightshift --outputdir={out} >&2"
        ways["mydumper, two threads"] = ["sh", "-c", f"{do}; du -sb {out} | cut -f1"]
    return ways


def compare(
    ways: dict[str, list[str]], server: int, *, rounds: int, usual: str, before: Callable[[], None] = lambda: None
) -> Table:
    """Let each take its turn, after `before`; return what it took, beside the usual way."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name in random.sample(list(ways), len(ways)):
            before()
            taken[name].append(take(ways[name], server))
    ratios = [
        Ratio(name="× the usual time", column="time", to=usual),
        Ratio(name="× its client", column="client", to=usual),
    ]
    return tabulate("", COLUMNS, taken, ratios=ratios)


def take(arguments: list[str], server: int) -> dict[str, float]:
    """Run a way to its end, and return what it took."""
    before = processor_seconds(server)
    taken: dict[str, float] = result_of([sys.executable, "-S", "-c", LAUNCH, *arguments])
    return taken | {"server": processor_seconds(server) - before}


def back_up(url: str, connections: str, s3: str) -> int:
    """Back up as a deployment does, into nothing or into S3; return how many bytes came out."""
    from chalicelib.backup.archive.parts import PackedPart
    from chalicelib.backup.dump.dump import Dump, Section
    from chalicelib.backup.dump.scope import Plan
    from chalicelib.backup.dump.snapshot import take_snapshot

    address = urlsplit(url)
    where: dict[str, Any] = {"host": address.hostname, "port": address.port, "user": "root", "database": "nightshift"}
    plan = Plan()
    with take_snapshot(
        lambda: pymysql.connect(**where, ssl_disabled=True), plan=plan, connections=int(connections)
    ) as snapshot:
        dump = Dump(snapshot, plan)

        def pack(section: Section) -> int:
            return sum(map(len, PackedPart(section.text, backup="backup", name="part", key=None)))

        if not s3:
            return sum(dump.write(pack))
        with archive_in(s3) as write:
            return sum(dump.write(write))


@contextmanager
def archive_in(s3: str) -> "Iterator[Callable[[Any], int]]":
    """Give what archives a section in the fake S3, and returns the bytes of its part."""
    import boto3

    from chalicelib.backup.archive.parts import ArchiveWriter
    from chalicelib.core.store import Store

    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="eu-central-1")  # noqa: S106
    store = Store(session.client("s3", endpoint_url=s3), bucket="bench")
    numbers = count(1)
    with ArchiveWriter(store, id="20261125T010000Z-00000000", key=None) as archive:
        yield lambda section: archive.write(f"{next(numbers):05}.sql", section.text).stored_bytes


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(back_up(*sys.argv[2:])))
    else:
        main()
