"""Connections that read one moment: the same for all of them, whoever writes meanwhile, and soon out of the way."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymysql import err

from chalicelib.backup.archive.manifest import Server
from chalicelib.backup.connection import query_bytes
from chalicelib.backup.dump.scope import Plan
from chalicelib.backup.dump.snapshot import Snapshot, release_locks, take_snapshot
from nightshift.local.servers import mariadb_server
from tests.backup.whole import connector
from tests.servers import is_mariadb, needed, new_schema, new_user, on_both

ALL = Plan()
Connect = Callable[[], Any]


@pytest.fixture
def connect(server_url: str) -> Connect:
    """Connect to a schema of two accounts, which have 1,000 together."""
    with connector(server_url, autocommit=True)() as connection:
        for statement in (
            *(statement.encode() for statement in new_schema("bank")),
            b"CREATE TABLE bank.a (id INT PRIMARY KEY, n INT)",
            b"CREATE TABLE bank.b (id INT PRIMARY KEY, n INT)",
            b"INSERT INTO bank.a VALUES (1, 1000)",
            b"INSERT INTO bank.b VALUES (1, 0)",
        ):
            query_bytes(connection, statement)
    return connector(server_url, schema="bank")


@contextmanager
def transfers(connect: Connect) -> Iterator[None]:
    """Move money from one account to the other all the time, in transactions of two statements."""
    stop = threading.Event()

    def move() -> None:
        with connect() as connection:
            while not stop.is_set():
                query_bytes(connection, b"UPDATE a SET n = n - 1")
                query_bytes(connection, b"UPDATE b SET n = n + 1")
                connection.commit()

    threads = [threading.Thread(target=move) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def accounts(snapshot: Snapshot) -> list[tuple[int, int]]:
    """Return what each connection has in each account."""
    [*found] = (query_bytes(connection, b"SELECT a.n, b.n FROM a, b")[0] for connection in snapshot.connections)
    return found


@on_both
def test_all_connections_read_the_same_moment_whoever_writes(connect: Connect) -> None:
    moments = set()
    with transfers(connect):
        for _ in range(40):
            with take_snapshot(connect, plan=ALL, connections=4) as snapshot:
                found = set(accounts(snapshot))
                assert len(snapshot.connections) == 4
            assert len(found) == 1
            moments |= found
    assert {a + b for a, b in moments} == {1000}
    # Meanwhile there was no standstill.
    assert len(moments) > 10


def test_what_is_written_later_is_not_seen(connect: Connect) -> None:
    with take_snapshot(connect, plan=ALL, connections=2) as snapshot, connect() as writer:
        query_bytes(writer, b"DELETE FROM a")
        writer.commit()
        query_bytes(writer, b"INSERT INTO b VALUES (2, 7)")
        writer.commit()
        assert accounts(snapshot) == [(1000, 0)] * 2


@on_both
def test_nobody_waits_once_the_snapshot_is_there(connect: Connect) -> None:
    with take_snapshot(connect, plan=ALL, connections=3) as snapshot, connect() as writer:
        query_bytes(writer, b"SET SESSION lock_wait_timeout=1, innodb_lock_wait_timeout=1")
        query_bytes(writer, b"UPDATE a SET n = 1")
        # A change of a table that no connection has read yet does not wait either.
        query_bytes(writer, b"ALTER TABLE b ADD extra INT")
        writer.commit()
        assert query_bytes(snapshot.connections[0], b"SELECT n FROM a") == [(1000,)]


def test_what_was_read_can_be_changed_while_other_tables_are_read(connect: Connect) -> None:
    with take_snapshot(connect, plan=ALL, connections=1) as snapshot, connect() as other:
        [reading] = snapshot.connections
        query_bytes(other, b"SET SESSION lock_wait_timeout=1")
        query_bytes(reading, b"SELECT n FROM a")
        with pytest.raises(err.OperationalError, match="Lock wait timeout"):
            query_bytes(other, b"ALTER TABLE a ADD extra INT")
        release_locks(reading)
        query_bytes(other, b"ALTER TABLE a ADD extra INT")
        query_bytes(other, b"DELETE FROM b")
        other.commit()
        assert query_bytes(reading, b"SELECT n FROM b") == [(0,)]


def test_one_connection_needs_no_lock(connect: Connect) -> None:
    with connect() as writer:
        query_bytes(writer, b"UPDATE a SET n = 1")
        with take_snapshot(connect, plan=ALL, connections=1) as snapshot:
            writer.commit()
            assert accounts(snapshot) == [(1000, 0)]


def test_where_somebody_keeps_writing_one_connection_must_do(connect: Connect) -> None:
    with connect() as writer:
        query_bytes(writer, b"UPDATE a SET n = 1")
        with take_snapshot(connect, plan=ALL, connections=3) as snapshot:
            assert accounts(snapshot) == [(1000, 0)]


@pytest.mark.parametrize("plan", [Plan(exclude=["a"]), Plan(schema_only=["a"]), Plan(include=["b"])])
def test_a_table_without_rows_in_the_backup_is_not_locked(plan: Plan, connect: Connect) -> None:
    with connect() as writer:
        query_bytes(writer, b"UPDATE a SET n = 1")
        with take_snapshot(connect, plan=plan, connections=3) as snapshot:
            assert len(snapshot.connections) == 3


def test_nothing_of_a_schema_need_be_locked(connect: Connect) -> None:
    with take_snapshot(connect, plan=Plan(exclude=["*"]), connections=2) as snapshot:
        assert len(snapshot.connections) == 2


@on_both
def test_where_the_right_to_lock_is_missing_one_connection_must_do(connect: Connect, server_url: str) -> None:
    with connect() as connection:
        for statement in new_user("reader"):
            query_bytes(connection, statement.encode())
        query_bytes(connection, b"GRANT SELECT ON bank.* TO reader@localhost")
    with take_snapshot(connector(server_url, schema="bank", user="reader"), plan=ALL, connections=3) as snapshot:
        assert accounts(snapshot) == [(1000, 0)]


def test_another_error_than_one_of_locking_is_raised() -> None:
    def refused() -> Any:
        raise err.OperationalError(1040, "Too many connections")

    with pytest.raises(err.OperationalError, match="Too many"), take_snapshot(refused, plan=ALL, connections=2):
        pass


def test_what_whoever_connects_has_set_changes_nothing(connect: Connect, server_url: str) -> None:
    with connect() as connection:
        limit = "max_statement_time=0.5" if is_mariadb(connection) else "max_execution_time=500"
    odd = (
        "SET SESSION sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES', time_zone='+09:00', sql_select_limit=1,"
        f" {limit}, sql_quote_show_create=0"
    )
    asked = (
        f"SELECT @@sql_mode,@@time_zone,@@sql_select_limit,@@{limit.partition('=')[0]},@@sql_quote_show_create,"
        "@@transaction_isolation,@@character_set_client,@@character_set_results"
    ).encode()
    with take_snapshot(connector(server_url, schema="bank", init_command=odd), plan=ALL, connections=1) as snapshot:
        found = query_bytes(snapshot.connections[0], asked)
    with take_snapshot(connect, plan=ALL, connections=1) as snapshot:
        assert query_bytes(snapshot.connections[0], asked) == found


@on_both
def test_it_says_what_the_server_is(connect: Connect) -> None:
    with connect() as connection:
        query_bytes(connection, b"ALTER DATABASE COLLATE latin1_german1_ci")
        version = query_bytes(connection, b"SELECT VERSION()")[0][0]
        mode, zone, packet = query_bytes(
            connection, b"SELECT @@GLOBAL.sql_mode,@@GLOBAL.time_zone,@@max_allowed_packet"
        )[0]
    with take_snapshot(connect, plan=ALL, connections=1) as snapshot:
        # Not the session's own, which a backup has changed.
        assert "STRICT_TRANS_TABLES" in mode
        assert (snapshot.schema, snapshot.packet) == ("bank", packet)
        assert snapshot.server == Server(
            version=version, charset="latin1", collation="latin1_german1_ci", time_zone=zone, sql_mode=mode
        )
        assert snapshot.position is None


@pytest.mark.parametrize("connections", [1, 3])
def test_no_transaction_remains_after_it(connections: int, connect: Connect) -> None:
    with take_snapshot(connect, plan=ALL, connections=connections) as snapshot:
        accounts(snapshot)
    assert all(not connection.open for connection in snapshot.connections)


@pytest.mark.parametrize("connections", [1, 2])
def test_the_place_in_the_log_is_that_of_the_snapshot(connections: int, tmp_path: Path) -> None:
    server = needed(lambda folder: mariadb_server(folder, "--log-bin", "--server-id=7"), tmp_path)
    with server as url, connector(url, autocommit=True)() as connection:
        for statement in (b"CREATE SCHEMA logged", b"CREATE TABLE logged.t (id INT PRIMARY KEY)"):
            query_bytes(connection, statement)
        query_bytes(connection, b"INSERT INTO logged.t VALUES (1)")
        file, offset, *_ = query_bytes(connection, b"SHOW MASTER STATUS")[0]
        gtid = query_bytes(connection, b"SELECT @@gtid_current_pos")[0][0]
        with take_snapshot(connector(url, schema="logged"), plan=ALL, connections=connections) as snapshot:
            query_bytes(connection, b"INSERT INTO logged.t VALUES (2)")
            position = snapshot.position
    assert position is not None
    assert (position.file, position.offset, position.gtid) == (file, offset, gtid)
