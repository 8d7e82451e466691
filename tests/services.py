"""What tests need of this machine: without it they are skipped, or fail where CI has promised it."""

import os
import re
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from nightshift.local.servers import NotInstalledError, find_program
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
