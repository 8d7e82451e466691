"""A dump loads by the ordinary client and is what was dumped, whatever the schema holds."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from pymysql import err
from sqlalchemy import make_url

from chalicelib.backup import lanes
from chalicelib.backup.dump import Dump
from chalicelib.backup.lanes import Counted
from chalicelib.backup.plan import Plan
from chalicelib.backup.section import Section
from chalicelib.backup.session import ask
from chalicelib.backup.snapshot import take
from tests.backup import everything, samples
from tests.backup.whole import connector

LONGEST_STATEMENT = 64 << 20
Parts = list[tuple[Section, bytes]]


@pytest.fixture(scope="module")
def server(mariadb_url: str) -> Iterator[Any]:
    with connector(mariadb_url, autocommit=True)() as connection:
        before = ask(connection, b"SELECT @@GLOBAL.max_allowed_packet")[0][0]
        # A statement has at least one row, and the longest of these rows takes more than the usual 16 MiB.
        ask(connection, b"SET GLOBAL max_allowed_packet=%d" % LONGEST_STATEMENT)
        ask(connection, b"SET SESSION foreign_key_checks=0")
        yield connection
        ask(connection, b"SET GLOBAL max_allowed_packet=%d" % before)


@pytest.fixture(scope="module")
def source(server: Any, mariadb_url: str) -> str:
    """The name of a schema that holds everything."""
    make_schema(server, "source")
    with connector(mariadb_url, schema="source")() as connection:
        samples.fill(connection, "source")
        samples.fill_long(connection)
    return "source"


def make_schema(server: Any, name: str) -> None:
    ask(server, f"CREATE OR REPLACE SCHEMA {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci".encode())


def dump(url: str, schema: str, *, plan: Plan | None = None, connections: int = 2) -> tuple[Dump, Parts]:
    plan = plan or Plan()
    with take(connector(url, schema=schema), plan=plan, connections=connections) as snapshot:
        made = Dump(snapshot, plan)
        parts = made.write(lambda section: (section, b"".join(section.text)))
    return made, parts


def client(url: str, program: str, *options: str) -> list[str]:
    address = make_url(url)
    where = [f"--host={address.host}", f"--port={address.port}", f"--user={address.username}", "--skip-ssl"]
    return [program, "--no-defaults", *where, *options]


def load(url: str, server: Any, schema: str, text: bytes, *options: str) -> None:
    make_schema(server, schema)
    options = (f"--max-allowed-packet={LONGEST_STATEMENT}", *options, schema)
    subprocess.run(client(url, "mariadb", *options), input=text, check=True)


def described(url: str, schema: str) -> dict[str, Any]:
    with closing(connector(url)()) as connection:
        return samples.describe(connection, schema)


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {what: found.get(what) for what in expected if found.get(what) != expected[what]} == {}
    assert found.keys() == expected.keys()


@pytest.fixture(scope="module")
def dumped(source: str, mariadb_url: str) -> tuple[Dump, Parts]:
    return dump(mariadb_url, source)


def test_the_plain_client_loads_all_of_it_as_it_was(
    dumped: tuple[Dump, Parts], source: str, mariadb_url: str, server: Any
) -> None:
    load(mariadb_url, server, "loaded", b"".join(text for _, text in dumped[1]))
    assert_equal(described(mariadb_url, "loaded"), described(mariadb_url, source))


def test_what_was_loaded_gives_the_same_dump_again(
    dumped: tuple[Dump, Parts], source: str, mariadb_url: str, server: Any
) -> None:
    load(mariadb_url, server, "loaded", b"".join(text for _, text in dumped[1]))
    again, parts = dump(mariadb_url, "loaded", connections=1)
    assert again.counted == dumped[0].counted
    texts, expected = ({section.table: text for section, text in each} for each in (parts, dumped[1]))
    del texts[None], expected[None]
    # Rows without a key come in any order.
    keyed = {table.name for table in again.tables if table.key}
    assert {name: texts[name] for name in keyed & texts.keys()} == {n: expected[n] for n in keyed & expected.keys()}


# FLOAT loses digits, a default takes the old schema's sequence, a sequence's minimum is cut off, and enums …
OF_MARIADB_DUMP = {"f", "ff", "fz", "whole rows"}


def test_it_loads_what_the_servers_own_dump_loads_and_more(
    dumped: tuple[Dump, Parts], source: str, mariadb_url: str, server: Any
) -> None:
    options = ["--single-transaction", "--skip-add-locks", "--routines", "--events", "--triggers", source]
    theirs = subprocess.run(client(mariadb_url, "mariadb-dump", *options), check=True, capture_output=True).stdout
    theirs = theirs.replace(b"source.", b"").replace(b"`source` . ", b"")
    load(mariadb_url, server, "theirs", theirs)
    load(mariadb_url, server, "loaded", b"".join(text for _, text in dumped[1]))
    assert_equal(described(mariadb_url, "theirs"), described(mariadb_url, "loaded"))
