"""A dump loads by the ordinary client and is what was dumped, whatever the schema holds."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from pymysql import err

from chalicelib.backup.archive.manifest import Table
from chalicelib.backup.connection import query_bytes
from chalicelib.backup.dump import dump as lanes
from chalicelib.backup.dump.dump import Dump, Section
from chalicelib.backup.dump.scope import Plan
from chalicelib.backup.dump.snapshot import take_snapshot
from chalicelib.core.errors import TransientError
from tests.backup import everything, samples
from tests.backup.whole import connector
from tests.servers import client, dumper, is_mariadb, new_schema, on_both, series

LONGEST_STATEMENT = 64 << 20
Parts = list[tuple[Section, bytes]]


@pytest.fixture(scope="module")
def server(server_url: str) -> Iterator[Any]:
    with connector(server_url, autocommit=True)() as connection:
        before = query_bytes(connection, b"SELECT @@GLOBAL.max_allowed_packet")[0][0]
        # A statement has at least one row, and the longest of these rows takes more than the usual 16 MiB.
        query_bytes(connection, b"SET GLOBAL max_allowed_packet=%d" % LONGEST_STATEMENT)
        query_bytes(connection, b"SET SESSION foreign_key_checks=0")
        yield connection
        query_bytes(connection, b"SET GLOBAL max_allowed_packet=%d" % before)


@pytest.fixture(scope="module")
def source(server: Any, server_url: str) -> str:
    """The name of a schema that holds everything."""
    make_schema(server, "source")
    with connector(server_url, schema="source")() as connection:
        samples.fill(connection, "source")
        samples.fill_long(connection)
    return "source"


def make_schema(server: Any, name: str) -> None:
    for statement in new_schema(name):
        query_bytes(server, statement.encode())


def dump(url: str, schema: str, *, plan: Plan | None = None, connections: int = 2) -> tuple[Dump, Parts]:
    plan = plan or Plan()
    with take_snapshot(connector(url, schema=schema), plan=plan, connections=connections) as snapshot:
        made = Dump(snapshot, plan)
        parts = made.write(lambda section: (section, b"".join(section.text)))
    return made, parts


def load(server: Any, schema: str, text: bytes, *options: str) -> None:
    make_schema(server, schema)
    subprocess.run(
        client(server, f"--max-allowed-packet={LONGEST_STATEMENT}", *options, schema), input=text, check=True
    )


def described(url: str, schema: str) -> dict[str, Any]:
    with closing(connector(url)()) as connection:
        return samples.describe(connection, schema)


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {what: found.get(what) for what in expected if found.get(what) != expected[what]} == {}
    assert found.keys() == expected.keys()


@pytest.fixture(scope="module")
def dumped(source: str, server_url: str) -> tuple[Dump, Parts]:
    return dump(server_url, source)


@on_both
def test_the_plain_client_loads_all_of_it_as_it_was(
    dumped: tuple[Dump, Parts], source: str, server_url: str, server: Any
) -> None:
    load(server, "loaded", b"".join(text for _, text in dumped[1]))
    assert_equal(described(server_url, "loaded"), described(server_url, source))


def test_what_was_loaded_gives_the_same_dump_again(
    dumped: tuple[Dump, Parts], source: str, server_url: str, server: Any
) -> None:
    load(server, "loaded", b"".join(text for _, text in dumped[1]))
    again, parts = dump(server_url, "loaded", connections=1)
    assert again.counted == dumped[0].counted
    texts, expected = ({section.table: text for section, text in each} for each in (parts, dumped[1]))
    del texts[None], expected[None]
    # Rows without a key come in any order.
    keyed = {table.name for table in again.tables if table.key}
    assert {name: texts[name] for name in keyed & texts.keys()} == {n: expected[n] for n in keyed & expected.keys()}


def test_the_servers_own_dump_loads_to_the_same_but_for_what_it_loses(
    dumped: tuple[Dump, Parts], source: str, server_url: str, server: Any
) -> None:
    options = ["--single-transaction", "--skip-add-locks", "--routines", "--events", "--triggers", source]
    theirs = subprocess.run(dumper(server, *options), check=True, capture_output=True).stdout
    # A trigger whose author wrote the schema's name loads nowhere else.
    load(server, "theirs", theirs.replace(b"source.", b"").replace(b"`source` . ", b""))
    load(server, "loaded", b"".join(text for _, text in dumped[1]))
    found, expected = described(server_url, "theirs"), described(server_url, "loaded")
    different = {what for what in expected if found[what] != expected[what]}
    # Digits of FLOAT; the schema's collation of the time; the old schema's name before sequences and functions.
    lost = {"ROWS numbers", "FUNCTION older", "VIEW b_view"}
    assert different == (lost | {"ROWS keyless", "TABLE numbered"} if is_mariadb(server) else lost)
    rows = [(found[what], expected[what]) for what in different if what.startswith("ROWS")]
    assert {name for one, other in rows for name in one if one[name] != other[name]} == {"f", "fz", "whole rows"}


def test_the_client_must_be_told_to_keep_comments_and_line_ends(server_url: str, server: Any) -> None:
    make_schema(server, "unplain")
    with connector(server_url, schema="unplain")() as connection:
        samples.create(connection, everything.UNPLAIN_PROGRAMS, schema="unplain")
    expected = described(server_url, "unplain")
    text = b"".join(text for _, text in dump(server_url, "unplain")[1])
    options = ["--comments", "--binary-mode", "--default-character-set=sjis"]
    load(server, "loaded", text, *options)
    assert_equal(described(server_url, "loaded"), expected)


@pytest.fixture
def small(server_url: str, server: Any) -> str:
    """The name of a schema of some tables, with a trigger on each."""
    make_schema(server, "small")
    with connector(server_url, schema="small", autocommit=True)() as connection:
        for name in ("orders", "order_lines", "tmp_1", "logs"):
            query_bytes(connection, f"CREATE TABLE {name} (id INT PRIMARY KEY, t TEXT)".encode())
            query_bytes(connection, f"INSERT INTO {name} SELECT seq, REPEAT('x', 1000) FROM {series(3000)}".encode())
            query_bytes(
                connection, f"CREATE TRIGGER of_{name} BEFORE INSERT ON {name} FOR EACH ROW SET @a = 1".encode()
            )
        query_bytes(connection, b"CREATE TABLE nothing (id INT)")
        query_bytes(connection, b"CREATE VIEW orders_seen AS SELECT * FROM orders")
        query_bytes(connection, b"CREATE PROCEDURE tmp_procedure () SELECT 1")
        if is_mariadb(connection):
            query_bytes(connection, b"CREATE SEQUENCE tmp_sequence")
    return "small"


@pytest.mark.parametrize(
    ("plan", "names", "with_rows"),
    [
        (
            Plan(exclude=["tmp_*"]),
            {"orders", "order_lines", "logs", "nothing", "orders_seen", "of_orders", "of_order_lines", "of_logs"},
            {"orders", "order_lines", "logs", "nothing"},
        ),
        (Plan(include=["order*"]), {"orders", "order_lines", "orders_seen", "of_orders", "of_order_lines"}, None),
        (Plan(include=["order*", "logs"], exclude=["*_*"]), {"orders", "logs", "of_orders", "of_logs"}, None),
        (Plan(include=["ORDERS", "[lm]ogs"], schema_only=["logs"]), {"logs", "of_logs"}, set()),
        (Plan(include=["nobody"]), set(), set()),
    ],
)
def test_patterns_say_what_goes(
    plan: Plan, names: set[str], with_rows: set[str] | None, small: str, server_url: str, server: Any
) -> None:
    made, parts = dump(server_url, small, plan=plan)
    load(server, "loaded", b"".join(text for _, text in parts))
    found = {what.partition(" ")[2] for what in described(server_url, "loaded") if what != "ORDER OF TRIGGERS"} - {""}
    assert found == names
    assert made.counted.keys() == (names & {"orders", "order_lines", "logs"} if with_rows is None else with_rows)


def test_a_big_table_is_cut_into_parts_that_load_by_themselves(
    small: str, server_url: str, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "SECTION_BYTES", 1)
    made, parts = dump(server_url, small)
    by_table = [(section.table, section.rows) for section, _ in parts if section.kind == "rows"]
    assert len(by_table) == 4 * 3
    for name in ("orders", "order_lines", "tmp_1", "logs"):
        assert sum(rows or 0 for table, rows in by_table if table == name) == made.counted[name].rows == 3000
    assert made.counted["nothing"] == Table(name="nothing", rows=0, checksum=f"sum-of-sha256:{0:064x}")
    # Parts of a table stand together and in order; those before and after all rows do so too.
    assert [section.kind for section, _ in parts] == ["tables", *["rows"] * 12, "programs"]
    assert [table for table, _ in by_table] == sorted(
        [table for table, _ in by_table], key=[t for t, _ in by_table].index
    )
    make_schema(server, "loaded")
    (_, tables), *rows, (_, programs) = parts
    for text in [tables, *[text for _, text in reversed(rows)], programs]:
        subprocess.run(client(server, "loaded"), input=text, check=True)
    assert_equal(described(server_url, "loaded"), described(server_url, small))


def test_a_row_is_never_cut(source: str, server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "SECTION_BYTES", 1)
    _, parts = dump(server_url, source, plan=Plan(include=["long_ones"]))
    texts = [text for section, text in parts if section.kind == "rows"]
    assert all(text.endswith(b");\n") and text.count(b"INSERT INTO") == 1 for text in texts)
    assert sum(section.rows or 0 for section, _ in parts) == 6


def test_each_connection_writes_on_a_thread_of_its_own(small: str, server_url: str) -> None:
    together = threading.Barrier(2, timeout=60)
    plan = Plan()
    with take_snapshot(connector(server_url, schema=small), plan=plan, connections=2) as snapshot:
        seen: list[str | None] = []

        def store(section: Section) -> None:
            b"".join(section.text)
            # The first of both threads wait here for each other.
            if section.kind == "rows" and len(seen) < 2:
                seen.append(section.table)
                together.wait()

        Dump(snapshot, plan).write(store)
    assert len(set(seen)) == 2


class StoreError(Exception):
    pass


@pytest.mark.parametrize("error", [StoreError, KeyboardInterrupt])
def test_when_a_part_cannot_be_stored_all_stops_with_that_error(
    error: type[BaseException], small: str, server_url: str
) -> None:
    plan = Plan()
    stopped: list[BaseException] = []
    with take_snapshot(connector(server_url, schema=small), plan=plan, connections=2) as snapshot:
        dump = Dump(snapshot, plan)
        first, is_reading, has_failed = threading.Lock(), threading.Event(), threading.Event()

        def store(section: Section) -> None:
            if section.kind == "rows" and first.acquire(blocking=False):
                assert is_reading.wait(60)
                has_failed.set()
                raise error("S3 is down")
            try:
                for _ in section.text:
                    if section.kind == "rows":
                        is_reading.set()
                        assert has_failed.wait(60)
            except TransientError as reason:
                stopped.append(reason)
                raise

        with pytest.raises(error, match="S3 is down"):
            dump.write(store)
    # The thread that was reading was stopped, if not amid that table, then at the next.
    assert len(stopped) == 1
    assert len(dump.counted) < 4


PARTITIONED = (
    "CREATE TABLE small.split (id INT PRIMARY KEY) PARTITION BY RANGE (id)"
    " (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))"
)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        # The rows of the snapshot can be had no more, and the server says so.
        ("logs", ["ALTER TABLE small.logs DROP COLUMN t, ADD COLUMN t TEXT FIRST, ALGORITHM=COPY"]),
        ("logs", ["RENAME TABLE small.logs TO small.old_logs"]),
        ("logs", ["ALTER TABLE small.logs RENAME COLUMN t TO text"]),
        # Of these it says nothing.
        ("logs", ["RENAME TABLE small.logs TO small.x, small.tmp_1 TO small.logs, small.x TO small.tmp_1"]),
        ("pair", ["ALTER TABLE small.pair RENAME COLUMN a TO b, RENAME COLUMN b TO a"]),
        ("split", ["ALTER TABLE small.split EXCHANGE PARTITION p0 WITH TABLE small.apart"]),
        ("split", ["ALTER TABLE small.split TRUNCATE PARTITION p0"]),
        ("split", ["ALTER TABLE small.split DROP PARTITION p0"]),
    ],
)
def test_a_table_that_changes_before_it_is_read_fails_the_backup(
    table: str, change: list[str], small: str, server_url: str, server: Any
) -> None:
    for statement in (
        PARTITIONED,
        "INSERT INTO small.split VALUES (1), (11)",
        "CREATE TABLE small.apart (id INT PRIMARY KEY)",
        "CREATE TABLE small.pair (id INT PRIMARY KEY, a INT, b INT)",
        "INSERT INTO small.pair VALUES (1, 1, 2)",
    ):
        query_bytes(server, statement.encode())
    plan = Plan(include=[table])
    with take_snapshot(connector(server_url, schema=small), plan=plan, connections=1) as snapshot:
        dump = Dump(snapshot, plan)
        for statement in change:
            query_bytes(server, statement.encode())
        with pytest.raises(TransientError, match=f"the table {table} was changed, renamed or exchanged during"):
            dump.write(lambda section: b"".join(section.text))


def test_an_error_of_the_server_ends_all(small: str, server_url: str, server: Any) -> None:
    plan = Plan()
    with take_snapshot(connector(server_url, schema=small), plan=plan, connections=2) as snapshot:
        dump = Dump(snapshot, plan)
        for connection in snapshot.connections:
            query_bytes(server, b"KILL %d" % connection.thread_id())
        with pytest.raises(err.OperationalError):
            dump.write(lambda section: b"".join(section.text))


def test_a_table_that_was_read_may_change_while_others_are_read(small: str, server_url: str, server: Any) -> None:
    plan = Plan()
    changed: list[str] = []
    with take_snapshot(connector(server_url, schema=small), plan=plan, connections=1) as snapshot:
        dump = Dump(snapshot, plan)
        query_bytes(server, b"SET SESSION lock_wait_timeout=1")
        if is_mariadb(server):
            query_bytes(server, b"ALTER SEQUENCE small.tmp_sequence RESTART 5")

        def store(section: Section) -> None:
            for table in dump.counted.keys() - set(changed):
                query_bytes(server, f"ALTER TABLE small.{table} ADD extra INT".encode())
                changed.append(table)
            b"".join(section.text)

        dump.write(store)
    assert len(changed) == 5


def test_a_view_of_what_is_gone_does_not_stop_it(small: str, server_url: str, server: Any) -> None:
    query_bytes(server, b"DROP TABLE small.orders")
    made, parts = dump(server_url, small)
    assert [view.name for view in made.views] == ["orders_seen"]
    assert b"VIEW `orders_seen` AS select" in parts[-1][1]


def test_a_view_whose_definer_is_gone_loads_into_another_schema(small: str, server_url: str, server: Any) -> None:
    # MariaDB names the schema in all of a view with such a part.
    part = b"WITH some AS (SELECT id FROM small.logs)"
    view = b"VIEW small.of_nobody AS " + part + b" SELECT some.id, orders.t FROM some JOIN small.orders USING (id)"
    query_bytes(server, b"CREATE DEFINER=nobody@localhost " + view)
    _, parts = dump(server_url, small)
    load(server, "loaded", b"".join(text for _, text in parts))
    assert b"`small`" not in query_bytes(server, b"SHOW CREATE TABLE loaded.of_nobody")[0][1].encode()
    assert_equal(described(server_url, "loaded"), described(server_url, small))


def test_tables_without_transactions_are_named(dumped: tuple[Dump, Parts], server: Any) -> None:
    in_aria = ["in_aria"] if is_mariadb(server) else []
    assert dumped[0].not_transactional == [*in_aria, "in_memory", "not_transactional"]
    # It shows the rows of others.
    assert "merged" not in dumped[0].counted


@on_both
def test_an_empty_schema_has_parts_that_load(server_url: str, server: Any) -> None:
    make_schema(server, "small")
    _, parts = dump(server_url, "small")
    assert [section.kind for section, _ in parts] == ["tables", "programs"]
    load(server, "loaded", b"".join(text for _, text in parts))
