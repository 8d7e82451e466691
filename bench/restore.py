"""Restores into one server: ours beside its own client fed by zstd, and myloader where it is installed.

python -m bench.restore [--rows 600000] [--rounds 3]

As bench.backup has it. What ours restores comes out of S3 by HTTP, and everything is read and judged before anything is
done, which the others do not do: that part of it is given by itself as well.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql

from bench import command
from bench.backup import SIZES, compare, missing
from bench.filling import fill
from bench.machine import machine
from bench.report import Part
from bench.servers import Kind, database, find
from chalicelib.backup.archive.encryption import make_keys
from chalicelib.backup.dump.dump import back_up_schema
from chalicelib.backup.dump.scope import Plan
from chalicelib.core.store import Store
from nightshift.local.environment import enter, isolated
from nightshift.local.servers import free_port

ID = "20261125T010000Z-00000000"
BUCKET, SCHEMA = "bench", "restored"


class Folder(Store):
    """A bucket as a folder, to write into."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def upload(self, key: str, chunks: Iterable[bytes], **_: Any) -> None:
        """Write an object."""
        with self._open(key) as file:
            file.writelines(chunks)

    def put(self, key: str, content: bytes, **_: Any) -> None:
        """Write an object."""
        with self._open(key) as file:
            file.write(content)

    def _open(self, key: str) -> Any:
        path = self._path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")


def main() -> None:
    """Measure and print."""
    command.run(measure, __doc__, SIZES)


def measure(sizes: argparse.Namespace) -> Part:
    """Restore in each way."""
    enter(isolated(os.environ))
    kind = find(sizes.server)
    with (
        tempfile.TemporaryDirectory() as made,
        database(sizes.server, Path(made), options=kind.large) as url,
        files_in(made) as s3,
    ):
        fill(url, rows=sizes.rows)
        back_up(kind, url, Path(made))
        pid = int((Path(made) / "server.pid").read_text(encoding="ascii"))
        ways = ways_in(kind, url, s3, Path(made))
        table = compare(ways, pid, rounds=sizes.rounds, usual=usual_of(kind), before=lambda: make_empty(url))
        about = f"{sizes.rows:,} rows of four tables, {sizes.rounds} rounds."
        return Part(about=about, machine=machine(url), tables=(table,), left_out=missing("myloader"))


def usual_of(kind: Kind) -> str:
    """Return the name of what is usually done: a dump of the server's own, decompressed into its client."""
    return f"zstd -d to {Path(kind.client).name}"


def back_up(kind: Kind, url: str, folder: Path) -> None:
    """Back up in each way."""
    back_up_schema(
        connector(url, "nightshift"),
        Folder(folder / BUCKET),
        id=ID,
        keys=make_keys([]),
        plan=Plan(),
        connections=2,
        progress=lambda _: None,
    )
    connect = f"{kind.client_options} {address(url)}"
    dump = f"{kind.dump} {connect} {kind.dump_options} nightshift | zstd -3 -q -o {folder}/dump.zst"
    subprocess.run(dump, shell=True, check=True)  # noqa: S602 (ours, without anybody's words)
    if shutil.which("mydumper"):
        mydumper = (
            f"mydumper {address(url)} --threads=2 --compress=ZSTD --database=nightshift --outputdir={folder}/mydumper"
        )
        subprocess.run(mydumper.split(), check=True, capture_output=True)


def make_empty(url: str) -> None:
    """Make the schema empty that is restored into."""
    with connector(url, None)() as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA}")
        cursor.execute(f"CREATE SCHEMA {SCHEMA}")


def ways_in(kind: Kind, url: str, s3: str, folder: Path) -> dict[str, list[str]]:
    """Return how a backup is restored, by name: a program and its arguments, which prints how many bytes went in."""
    own = f"{kind.client} {kind.client_options} {address(url)} {SCHEMA}"
    ours = [sys.executable, "-m", "bench.restore", "--child", url, s3]
    parts = folder / BUCKET / "backups" / ID
    ways = {
        usual_of(kind): ["sh", "-c", f"zstd -dcq {folder}/dump.zst | {own} && wc -c < {folder}/dump.zst"],
        f"our parts to {Path(kind.client).name}": [
            "sh",
            "-c",
            f"for part in {parts}/*.zst; do zstd -dcq $part | {own}; done; cat {parts}/*.zst | wc -c",
        ],
        "ours, reading first": [*ours, "check", "3"],
        "ours, one connection": [*ours, "restore", "1"],
        "ours, three connections": [*ours, "restore", "3"],
    }
    if shutil.which("myloader"):
        load = f"myloader {address(url)} --threads=2 --database={SCHEMA} --directory={folder}/mydumper >&2; echo 0"
        ways["myloader, two threads"] = ["sh", "-c", load]
    return ways


def address(url: str) -> str:
    """Return the options that say where the server is."""
    return f"--host=127.0.0.1 --port={urlsplit(url).port} --user=root"


def connector(url: str, schema: str | None) -> Callable[[], Any]:
    """Return what connects to the server."""
    from pymysql.constants import CLIENT

    where: dict[str, Any] = {"host": "127.0.0.1", "port": urlsplit(url).port, "user": "root", "ssl_disabled": True}
    return lambda: pymysql.connect(**where, database=schema, client_flag=CLIENT.LOCAL_FILES)


def restore(url: str, s3: str, what: str, connections: str) -> int:
    """Restore as a deployment does, or only read and judge; return how many bytes that were."""
    import boto3

    from chalicelib.backup.archive.parts import Reader
    from chalicelib.backup.restore import restore as restores
    from chalicelib.backup.restore.contents import read_contents

    session = boto3.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name="eu-central-1")  # noqa: S106
    store = Store(session.client("s3", endpoint_url=s3), bucket=BUCKET)
    reader = Reader(store, id=ID, keys=make_keys([]), plain=True)
    if what == "check":
        read_contents(reader, rows=True, threads=int(connections), progress=lambda _: None)
    else:
        request = restores.RestoreRequest(
            schema=SCHEMA,
            tables=None,
            replace=False,
            allow_cross_schema=False,
            programs=True,
            set_definer=False,
            by_checksum=False,
            connections=int(connections),
        )
        progress = restores.RestoreProgress(checked=lambda _: None, loaded=lambda _: None)
        restored = restores.restore(reader, connector(url, None), request, progress=progress)
        if restored.differences:
            sys.exit("; ".join(restored.differences))
    return reader.manifest.stored_bytes


@contextmanager
def files_in(folder: str) -> Iterator[str]:
    """Serve the objects that lie in a folder, as S3 does, from a process of its own; give its URL."""
    port = free_port()
    arguments = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", folder]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        # The logger keeps the standard output that it found when it was made, and writes progress there.
        with os.fdopen(os.dup(1), "w", encoding="utf-8") as output:
            os.dup2(2, 1)
            output.write(json.dumps(restore(*sys.argv[2:])))
    else:
        main()
