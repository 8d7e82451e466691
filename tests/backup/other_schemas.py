"""Back up, verify, restore and compare the schemas of a folder of SQL files, and print a table.

    python -m tests.backup.other_schemas FOLDER [--server mysql|mariadb]

Each file is loaded by the server's own client into an empty server; each schema that it fills is backed up, verified,
dropped, restored under its own name and compared with what it was: every definition, and checksums of every column.
Where something differs, the schema is also dumped and loaded by the server's own programs, and what these change in the
same way is told apart. Exits with 1 where a schema is refused or comes back different.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import make_url

from chalicelib.backup.archive.encryption import make_keys
from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.restore.contents import verify
from chalicelib.backup.restore.restore import RestoreProgress, RestoreRequest, restore
from chalicelib.core.errors import NightshiftError
from chalicelib.core.store import Store
from nightshift.local.aws import local_aws, prepare
from nightshift.local.environment import BUCKET
from nightshift.local.servers import Server, find_program, prepare_mariadb, prepare_mysql
from tests.backup import samples
from tests.backup.archives import id_of
from tests.backup.whole import back_up, connector

KEYS = make_keys(["a key, so that programs of any kind are restored"])
SYSTEM = {"mysql", "sys", "information_schema", "performance_schema", "nightshift"}
PREPARE = {"mysql": prepare_mysql, "mariadb": prepare_mariadb}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of one schema of a file on one server."""

    file: str
    server: str
    schema: str
    tables: int
    rows: int
    errors_of_file: int
    # "equal", "equal but for", "different", "refused" or "refused too", and the names or the sentence.
    outcome: str
    detail: str = ""


@contextmanager
def empty_server(name: str) -> Iterator[Server]:
    """Run an empty server, strict about nothing, so that old files load."""
    with tempfile.TemporaryDirectory() as folder:
        server = PREPARE[name](Path(folder), "--local-infile=ON", "--max-allowed-packet=1G", "--sql-mode=")
        try:
            server.start()
            yield server
        finally:
            server.kill()


def program_of(name: str, purpose: str) -> str:
    """Return the path of a server's client or dump program, which lies beside MySQL's server."""
    if name == "mysql":
        beside = Path(find_program("mysqld")).with_name(purpose if purpose == "mysql" else "mysqldump")
        return str(beside)
    return find_program("mariadb" if purpose == "mysql" else "mariadb-dump")


def run_client(server: Server, name: str, *arguments: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """Run the server's own client, or its dump where the first argument says so."""
    purpose, *options = arguments
    address = make_url(server.url)
    where = ["--host=127.0.0.1", f"--port={address.port}", "--user=root", "--default-character-set=utf8mb4"]
    tls = "--ssl-mode=DISABLED" if name == "mysql" else "--skip-ssl"
    command = [program_of(name, purpose), "--no-defaults", *where, tls, *options]
    return subprocess.run(command, input=given, capture_output=True, check=False)


def list_schemas(server: Server) -> set[str]:
    """Return the schemas that are not the server's own."""
    with closing(connector(server.url)()) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW DATABASES")
        return {row[0] for row in cursor.fetchall()} - SYSTEM


def described(server: Server, schema: str) -> dict[str, Any]:
    """Return all that a schema holds."""
    with closing(connector(server.url)()) as connection:
        return samples.describe(connection, schema)


def remake(server: Server, schema: str, described_as: dict[str, Any]) -> None:
    """Drop a schema and make it again, empty, with its character set and collation."""
    [(charset, collation)] = described_as["SCHEMA"]
    quoted = samples.quoted(schema)
    with closing(connector(server.url, autocommit=True)()) as connection, connection.cursor() as cursor:
        # Tables of other schemas may refer to it.
        cursor.execute("SET foreign_key_checks=0")
        cursor.execute(f"DROP DATABASE {quoted}")
        cursor.execute(f"CREATE DATABASE {quoted} CHARACTER SET {charset} COLLATE {collation}")


def differences(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what is not the same, with both."""
    names = sorted(found.keys() | expected.keys())
    return {name: (expected.get(name), found.get(name)) for name in names if expected.get(name) != found.get(name)}


def try_schema(server: Server, name: str, store: Store, schema: str, id: str) -> tuple[str, str]:
    """Return the outcome of a schema, and the names of what differs or the sentence of a refusal."""
    before = described(server, schema)
    options = ("--single-transaction", "--routines", "--events", "--triggers", "--hex-blob", "--force", schema)
    own_dump = run_client(server, name, "dump", *options).stdout
    connect = connector(server.url, schema=schema)
    try:
        back_up(connect, store, id=id, keys=KEYS)
        verify(store, id, keys=KEYS, plain=False, threads=2, progress=lambda _: None)
        remake(server, schema, before)
        request = RestoreRequest(
            schema=schema,
            tables=None,
            replace=False,
            allow_cross_schema=True,
            programs=None,
            set_definer=False,
            by_checksum=True,
            connections=2,
        )
        quiet = RestoreProgress(checked=lambda _: None, loaded=lambda _: None)
        restored = restore(Reader(store, id=id, keys=KEYS, plain=False), connector(server.url), request, progress=quiet)
    except NightshiftError as error:
        remake(server, schema, before)
        loaded = run_client(server, name, "mysql", "--force", "--binary-mode", schema, given=own_dump)
        # Such as a table whose folder the server takes once and never again.
        code = re.search(r"\((\d+)\)$", str(error))
        is_theirs = code is not None and f"ERROR {code[1]} ".encode() in loaded.stderr
        return ("refused too" if is_theirs else "refused"), str(error)
    if not (different := differences(described(server, schema), before)):
        return ("equal", "") if not restored.differences else ("different", "; ".join(restored.differences))
    remake(server, schema, before)
    run_client(server, name, "mysql", "--force", "--binary-mode", schema, given=own_dump)
    theirs = described(server, schema)
    ours_alone = [each for each, (_, found) in different.items() if theirs.get(each) != found]
    if ours_alone:
        return "different", ", ".join(ours_alone)
    return "equal but for", f"{', '.join(different)} (changed by the server's own dump too)"


def try_file(path: Path, name: str, store: Store, number: int) -> Iterator[Result]:
    """Load a file into an empty server, and yield what comes of each of its schemas."""
    with empty_server(name) as server:
        with closing(connector(server.url, autocommit=True)()) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE DATABASE unnamed")
        loaded = run_client(server, name, "mysql", "--force", "unnamed", given=path.read_bytes())
        errors = loaded.stderr.count(b"\nERROR") + loaded.stderr.startswith(b"ERROR")
        for count, schema in enumerate(sorted(list_schemas(server))):
            before = described(server, schema)
            if len(before) == 2:  # the schema and the order of no triggers
                continue
            id = id_of(datetime(2026, 1, 1, tzinfo=UTC), number=number * 1000 + count)
            outcome, detail = try_schema(server, name, store, schema, id)
            sums = [value for what, value in before.items() if what.startswith("ROWS ")]
            yield Result(
                file=path.name,
                server=name,
                schema=schema,
                tables=len(sums),
                rows=sum(each["rows"] for each in sums),
                errors_of_file=errors,
                outcome=outcome,
                detail=detail,
            )


def main() -> int:
    """Try every file of the folder on each server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--server", choices=sorted(PREPARE), action="append")
    arguments = parser.parse_args()
    files = sorted(arguments.folder.rglob("*.sql"))
    if not files:
        print(f"{arguments.folder} has no .sql file", file=sys.stderr)
        return 2
    table = Table("file", "server", "schema", "tables", "rows", "errors of the file", "result", "what")
    results: list[Result] = []
    with local_aws() as aws:
        prepare(aws)
        store = Store(aws.client("s3"), bucket=BUCKET)
        numbered = ((path, name) for path in files for name in arguments.server or sorted(PREPARE))
        for number, (path, name) in enumerate(numbered):
            for result in try_file(path, name, store, number):
                results.append(result)
                cells = [result.file, result.server, result.schema, result.tables, result.rows, result.errors_of_file]
                table.add_row(*map(str, cells), result.outcome, result.detail)
                print(
                    f"{result.file} on {result.server}, {result.schema}: {result.outcome} {result.detail}", flush=True
                )
    Console(width=200).print(table)
    return 1 if {result.outcome for result in results} & {"refused", "different"} or not results else 0


if __name__ == "__main__":
    sys.exit(main())
