"""The servers that tests run on: which are installed, and how MySQL and MariaDB differ."""

import os
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from nightshift.local.servers import MYSQL_FOLDER, NotInstalledError, find_program
from tests.sweep import IS_SWEEP

T = TypeVar("T")

SERVERS = ("mysql", "mariadb")


def main_server() -> str:
    """Return the server of the tests that run on one: $TEST_SERVER, or MySQL, or MariaDB where it alone is installed.

    Tests of what the servers do differently run on each, and so do all in `make sweep`.
    """
    if named := os.environ.get("TEST_SERVER"):
        return named
    try:
        find_program("mysqld")
    except NotInstalledError:
        return "mysql" if os.environ.get("REQUIRE_SERVICES") == "1" else "mariadb"
    return "mysql"


# For what SQLite does not have, on one server: each is tried in `make sweep`.
on_a_server = pytest.mark.parametrize("database_url", SERVERS if IS_SWEEP else [main_server()], indirect=True)
# And for what the servers do differently: locks of rows, connections that break, plans.
on_each_server = pytest.mark.parametrize("database_url", SERVERS, indirect=True)
# The same, among tests that take `server_url`, and for what only one of the servers has.
on_both = pytest.mark.parametrize("server_url", SERVERS, indirect=True)
on_mysql = pytest.mark.parametrize("server_url", ["mysql"], indirect=True)
on_mariadb = pytest.mark.parametrize("server_url", ["mariadb"], indirect=True)


@contextmanager
def needed(
    start: Callable[[Path], AbstractContextManager[T]],
    folder: Path,
    *,
    promise: str = "REQUIRE_SERVICES",
    missing: type[Exception] = NotInstalledError,
) -> Iterator[T]:
    """Run it in the folder and give what it gives; the variable `promise` is 1 where it may not be `missing`."""
    try:
        running = start(folder)
        given = running.__enter__()
    except missing as error:
        (pytest.fail if os.environ.get(promise) == "1" else pytest.skip)(str(error))
    try:
        yield given
    finally:
        running.__exit__(None, None, None)


def describe_servers() -> str:
    """Return the version of each server that tests run on, or why its tests are skipped."""
    described = [f"SQLite {sqlite3.sqlite_version}"]
    for name, program in {"MySQL": "mysqld", "MariaDB": "mariadbd", "Redis": "redis-server"}.items():
        try:
            path = find_program(program)
        except NotInstalledError as error:
            described.append(f"no {name} ({error})")
        else:
            text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
            version = re.search(r"\d+\.\d+\.\d+", text)
            described.append(f"{name} {version[0] if version else text.strip()} ({path})")
    return "servers: " + ", ".join(described)


# How a replication that never starts is made and ended, and what its lag is called, on MySQL and on MariaDB.
REPLICATION = {
    False: {
        "begin": "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_USER = 'nobody'",
        "end": "RESET REPLICA ALL",
        "seconds": "Seconds_Behind_Source",
    },
    True: {
        "begin": "CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_USER = 'nobody'",
        "end": "RESET SLAVE ALL",
        "seconds": "Seconds_Behind_Master",
    },
}


def is_mariadb(connection: Any) -> bool:
    """Return whether PyMySQL's connection leads to a MariaDB."""
    return "MariaDB" in connection.get_server_info()


def series(last: int) -> str:
    """Return a table of the numbers from 1 to `last` in its column `seq`, for a FROM clause.

    MariaDB has such tables in an engine of its own (`seq_1_to_9`), MySQL has none.
    """
    array = f"CONVERT(CONCAT('[0', REPEAT(',0', {last - 1}), ']') USING utf8mb4)"
    numbers = f"JSON_TABLE({array}, '$[*]' COLUMNS (seq FOR ORDINALITY)) AS numbered"
    return f"(SELECT CAST(seq AS SIGNED) AS seq FROM {numbers}) AS series"


def new_schema(name: str, *, collation: str = "utf8mb4_unicode_ci") -> list[str]:
    """Return the statements that leave an empty schema of this name: MySQL has no CREATE OR REPLACE."""
    quoted = "`" + name.replace("`", "``") + "`"
    charset = collation.partition("_")[0]
    return [f"DROP SCHEMA IF EXISTS {quoted}", f"CREATE SCHEMA {quoted} CHARACTER SET {charset} COLLATE {collation}"]


def new_user(name: str) -> list[str]:
    """Return the statements that leave a user of this name at localhost without any privilege."""
    return [f"DROP USER IF EXISTS {name}@localhost", f"CREATE USER {name}@localhost"]


def client(connection: Any, *options: str) -> list[str]:
    """Return the command of the plain client that comes with the server of PyMySQL's connection, without encryption."""
    of_mariadb = is_mariadb(connection)
    program = "mariadb" if of_mariadb else str(MYSQL_FOLDER / "bin" / "mysql")
    return _command(connection, program, options)


def dumper(connection: Any, *options: str) -> list[str]:
    """Return the command of the dumper that comes with the server of PyMySQL's connection, without encryption."""
    of_mariadb = is_mariadb(connection)
    program = "mariadb-dump" if of_mariadb else str(MYSQL_FOLDER / "bin" / "mysqldump")
    # What MySQL's writes of them loads into no server that has them.
    positions = [] if of_mariadb else ["--set-gtid-purged=OFF"]
    return _command(connection, program, (*positions, *options))


def _command(connection: Any, program: str, options: tuple[str, ...]) -> list[str]:
    plain = "--skip-ssl" if is_mariadb(connection) else "--ssl-mode=DISABLED"
    where = [f"--host={connection.host}", f"--port={connection.port}", f"--user={connection.user.decode()}"]
    return [program, "--no-defaults", *where, plain, *options]
