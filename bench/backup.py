"""Backups of one MariaDB: ours beside mariadb-dump through gzip and zstd, and mydumper where it is installed.

python -m bench.backup [--rows 600000] [--rounds 3]

Each way is a process, or several with pipes between them, of its own, and the ways of a round come in a random order.
`time` is that on the clock, which other work on the machine lengthens; `client` and `server` are seconds of
processors, of all that a way runs and of MariaDB; `memory` is that of its largest process. Ours pays for more than
the others do: a row count and a checksum of each table, and a digest of each part.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql

from bench import command
from bench.child import result_of
from bench.machine import machine
from bench.report import Column, Part, Ratio, Table
from bench.tabulate import tabulate
from nightshift.local.environment import enter, isolated
from nightshift.local.servers import mariadb_server

SERVER = ("--innodb-buffer-pool-size=2G", "--innodb-log-file-size=1G")
WORDS = (
    "'the', 'quick', 'brown', 'fox', 'jumps', 'over', 'a', 'lazy', 'dog', 'and', 'nobody', 'knows', 'why', 'it', 'did'"
)
# Of each million rows: their share, the table, and a row made from its number.
TABLES = [
    (
        0.43,
        "orders (id BIGINT PRIMARY KEY, customer INT NOT NULL, amount DECIMAL(10,2) NOT NULL,"
        " status ENUM('new','paid','sent') NOT NULL, note VARCHAR(100), created_at DATETIME NOT NULL, KEY (customer))",
        "seq, seq * 7919 % 100003, seq * 31 % 100000 / 100, 1 + seq % 3, IF(seq % 4, NULL, CONCAT('note of ', seq)),"
        " '2020-01-01' + INTERVAL seq SECOND",
    ),
    (
        0.22,
        "posts (id BIGINT PRIMARY KEY, author VARCHAR(60) NOT NULL, title VARCHAR(200) NOT NULL, body TEXT NOT NULL,"
        " points INT, score DOUBLE, created_at BIGINT NOT NULL)",
        "seq, CONCAT('user', seq * 7919 % 5003), CONCAT('About \"things\", it''s Ünïcödé ', seq),"
        f" CONCAT_WS(' ', {', '.join(f'ELT(1 + CRC32(seq + {n}000000000) % 15, {WORDS})' for n in range(40))}, '\n',"
        " REPEAT(MD5(seq % 1000), seq % 5)), IF(seq % 10, seq % 977, NULL), seq / 7, 1456000000000 + seq",
    ),
    (
        0.2,
        "sessions (id CHAR(36) PRIMARY KEY, user_id CHAR(36) NOT NULL, user_agent VARCHAR(200), created_at"
        " BIGINT NOT NULL,"
        " updated_at BIGINT NOT NULL)",
        "INSERT(MD5(seq), 9, 0, '-'), UUID(), 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
        " Chrome/126.0 Safari/537.36', 1456000000000 + seq, 1456000000000 + seq * 2",
    ),
    (
        0.15,
        "activity (id BIGINT PRIMARY KEY, user_id INT NOT NULL, event VARCHAR(40) NOT NULL, data JSON,"
        " at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3))",
        "seq, seq * 31 % 7001, ELT(1 + seq % 4, 'login', 'logout', 'page_view', 'purchase'),"
        " JSON_OBJECT('ip', CONCAT('10.0.', seq % 256, '.', seq % 77), 'path', CONCAT('/posts/', seq), 'n', seq),"
        " '2024-01-01' + INTERVAL seq SECOND",
    ),
]


# A process hands the most memory that it has held on to its children, so they are started by one that holds little.
LAUNCH = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
size = process.stdout.read()
_, status, used = os.wait4(process.pid, 0)  # with what its own children used
seconds = time.perf_counter() - began
if status:
    sys.exit(1)
client, memory = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
print(json.dumps({"time": seconds, "client": client, "memory": memory, "size": int(size) / 1e6}))
"""
USUAL = "mariadb-dump to zstd -3"
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
    with tempfile.TemporaryDirectory() as made, mariadb_server(Path(made), *SERVER) as url, fake_s3() as s3:
        fill(url, rows=sizes.rows)
        pid = int((Path(made) / "mariadb.pid").read_text(encoding="ascii"))
        table = compare(ways_out(url, s3, Path(made)), pid, rounds=sizes.rounds, usual=USUAL)
        about = f"{sizes.rows:,} rows of four tables, {sizes.rounds} rounds, without TLS."
        return Part(about=about, machine=machine(url), tables=(table,), left_out=missing("mydumper"))


def missing(program: str) -> tuple[str, ...]:
    """Return that a program is not installed, if so."""
    return () if shutil.which(program) else (f"{program}, which is not installed.",)


def fill(url: str, *, rows: int) -> None:
    """Make the tables that are backed up."""
    address = urlsplit(url)
    where: dict[str, Any] = {"host": address.hostname, "port": address.port, "user": "root", "database": "nightshift"}
    with pymysql.connect(**where, autocommit=True) as connection, connection.cursor() as cursor:
        for share, definition, values in TABLES:
            name = definition.partition(" ")[0]
            cursor.execute(f"CREATE TABLE {definition}")
            cursor.execute(f"INSERT INTO {name} SELECT {values} FROM seq_1_to_{int(rows * share)} ORDER BY 1")  # noqa: S608
            cursor.execute(f"ANALYZE TABLE {name}")


def ways_out(url: str, s3: str, folder: Path) -> dict[str, list[str]]:
    """Return how a backup is made, by name: a program and its arguments, which prints how many bytes came out."""
    address = urlsplit(url)
    where = f"--host=127.0.0.1 --port={address.port} --user=root"
    dump = f"mariadb-dump {where} --skip-ssl --single-transaction"
    ours = [sys.executable, "-m", "bench.backup", "--child", url]
    ways = {
        "mariadb-dump to gzip -6": ["sh", "-c", f"{dump} nightshift | gzip -6 | wc -c"],
        USUAL: ["sh", "-c", f"{dump} nightshift | zstd -3 -q | wc -c"],
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

    def busy() -> float:
        fields = Path(f"/proc/{server}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = busy()
    taken: dict[str, float] = result_of([sys.executable, "-S", "-c", LAUNCH, *arguments])
    return taken | {"server": busy() - before}


def back_up(url: str, connections: str, s3: str) -> int:
    """Back up as a deployment does, into nothing or into S3; return how many bytes came out."""
    from chalicelib.backup.dump import Dump
    from chalicelib.backup.parts import Packing
    from chalicelib.backup.plan import Plan
    from chalicelib.backup.section import Section
    from chalicelib.backup.snapshot import take

    address = urlsplit(url)
    where: dict[str, Any] = {"host": address.hostname, "port": address.port, "user": "root", "database": "nightshift"}
    plan = Plan()
    with take(lambda: pymysql.connect(**where, ssl_disabled=True), plan=plan, connections=int(connections)) as snapshot:
        dump = Dump(snapshot, plan)

        def pack(section: Section) -> int:
            return sum(map(len, Packing(section.text, backup="backup", name="part", key=None)))

        if not s3:
            return sum(dump.write(pack))
        with archive_in(s3) as write:
            return sum(dump.write(write))


@contextmanager
def archive_in(s3: str) -> "Iterator[Callable[[Any], int]]":
    """Give what archives a section in the fake S3, and returns the bytes of its part."""
    import boto3

    from chalicelib.backup.archive import Archive
    from chalicelib.store import Store

    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="eu-central-1")  # noqa: S106
    store = Store(session.client("s3", endpoint_url=s3), bucket="bench")
    numbers = count(1)
    with Archive(store, id="20261125T010000Z-00000000", key=None) as archive:
        yield lambda section: archive.write(f"{next(numbers):05}.sql", section.text).stored_bytes


class FakeS3(BaseHTTPRequestHandler):
    """Takes objects, whole and in pieces, and keeps nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Begin or complete an upload."""
        self._take()
        kind = "InitiateMultipartUpload" if self.path.endswith("uploads") else "CompleteMultipartUpload"
        self._answer(f"<{kind}Result><UploadId>1</UploadId><ETag>1</ETag></{kind}Result>".encode())

    def do_PUT(self) -> None:
        """Take an object or a piece of one."""
        if self.headers["Expect"] == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        self._take()
        self._answer(b"")

    def _take(self) -> None:
        left = int(self.headers["Content-Length"] or 0)
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def fake_s3() -> Iterator[str]:
    """Serve a fake S3 from this process, which does nothing else meanwhile; give its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeS3)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(back_up(*sys.argv[2:])))
    else:
        main()
