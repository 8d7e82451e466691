"""Transactions under the faults of a real server: deadlock, lock wait, a lost connection, read-only."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pymysql.connections import Connection as PyMySQLConnection
from sqlalchemy import Connection, create_engine, insert, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from chalicelib.core.database import PATIENCE_MS, Database, error_code, insert_missing
from chalicelib.core.engine import engine_for
from chalicelib.schema import digests
from nightshift.testkit.clock import FrozenClock
from tests.servers import on_each_server
from tests.world import MORNING

ROW = {"subject": "s", "content": "c", "post_count": 1, "created_at": 0}


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(MORNING)


@pytest.fixture
def database(database_url: str, clock: FrozenClock) -> Database:
    """A database with the digests of days `a` and `b`."""
    database = Database(engine_for(database_url), clock)
    database.transact(lambda connection: connection.execute(insert(digests), [{"day": d, **ROW} for d in "ab"]))
    return database


@pytest.fixture
def rival(database: Database) -> Iterator[Connection]:
    """A second connection, as another process has."""
    engine = create_engine(database.engine.url, isolation_level="READ COMMITTED")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def set_subject(connection: Connection, day: str, subject: str) -> None:
    connection.execute(update(digests).where(digests.c.day == day).values(subject=subject))


def subjects(database: Database) -> dict[str, str]:
    query = select(digests.c.day, digests.c.subject)
    return database.transact(lambda connection: {row.day: row.subject for row in connection.execute(query)})


def test_an_error_rolls_everything_back(database: Database) -> None:
    def work(connection: Connection) -> None:
        set_subject(connection, "a", "changed")
        raise LookupError

    with pytest.raises(LookupError):
        database.transact(work)
    assert subjects(database) == {"a": "s", "b": "s"}


def test_an_error_that_repeating_cannot_help_is_raised_at_once(database: Database, clock: FrozenClock) -> None:
    with pytest.raises(IntegrityError):
        database.transact(lambda connection: connection.execute(insert(digests).values(day="a", **ROW)))
    assert clock.slept == []


def test_existing_rows_are_left_and_other_errors_are_not_swallowed(database: Database) -> None:
    def add(**values: Any) -> None:
        row = {**ROW, "day": "a", "subject": "new", **values}
        database.transact(
            lambda connection: connection.execute(insert_missing(digests, connection.dialect).values(row))
        )

    add()
    assert subjects(database)["a"] == "s"
    with pytest.raises(IntegrityError):
        add(day="c", content=None)


def test_statements_that_commit_by_themselves_stay_when_a_later_one_fails(database: Database) -> None:
    def work(connection: Connection) -> None:
        set_subject(connection, "a", "changed")
        raise LookupError

    with pytest.raises(LookupError):
        database.autocommit(work)
    assert subjects(database) == {"a": "changed", "b": "s"}


class Counted:
    """Counts what a connection sends to the server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[str] = []
        send = vars(PyMySQLConnection)["_execute_command"]

        def note(connection: Any, command: int, sql: str | bytes) -> None:
            self.sent.append(sql if isinstance(sql, str) else sql.decode())
            send(connection, command, sql)

        monkeypatch.setattr(PyMySQLConnection, "_execute_command", note)


@on_each_server
def test_a_statement_by_itself_is_one_round_trip_and_a_transaction_adds_two(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.transact(lambda connection: None)
    counted = Counted(monkeypatch)
    database.autocommit(lambda connection: set_subject(connection, "a", "one"))
    assert len(counted.sent) == 1
    counted.sent.clear()
    database.transact(lambda connection: set_subject(connection, "a", "two"))
    assert [sent.split()[0] for sent in counted.sent] == ["BEGIN", "UPDATE", "COMMIT"]


@on_each_server
def test_a_transaction_that_fails_is_rolled_back_before_the_connection_is_used_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.transact(lambda connection: None)
    counted = Counted(monkeypatch)

    def work(connection: Connection) -> None:
        set_subject(connection, "a", "changed")
        raise LookupError

    with pytest.raises(LookupError):
        database.transact(work)
    assert [sent.split()[0] for sent in counted.sent] == ["BEGIN", "UPDATE", "ROLLBACK"]


@on_each_server
def test_a_deadlock_is_repeated_whole(database: Database, rival: Connection, clock: FrozenClock) -> None:
    # Heavier than ours, so that the server chooses ours as the victim.
    rival.execute(insert(digests), [{"day": f"rival{n}", **ROW} for n in range(50)])
    set_subject(rival, "b", "rival")
    waiting = threading.Event()
    tries = 0

    def finish_rival() -> None:
        waiting.wait()
        set_subject(rival, "a", "rival")
        rival.commit()

    def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        set_subject(connection, "a", f"ours {tries}")
        waiting.set()
        set_subject(connection, "b", f"ours {tries}")

    other = threading.Thread(target=finish_rival)
    other.start()
    database.transact(work)
    other.join()
    assert tries == 2
    assert (subjects(database)["a"], subjects(database)["b"]) == ("ours 2", "ours 2")


@on_each_server
def test_a_lock_wait_is_repeated_after_a_rollback_of_the_earlier_statements(
    database: Database, rival: Connection
) -> None:
    set_subject(rival, "b", "rival")
    tries = 0

    def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        connection.execute(text("SET innodb_lock_wait_timeout = 1"))
        connection.execute(update(digests).where(digests.c.day == "a").values(post_count=digests.c.post_count + 1))
        if tries == 2:
            rival.rollback()
        set_subject(connection, "b", "ours")

    database.transact(work)
    count = select(digests.c.post_count).where(digests.c.day == "a")
    assert database.transact(lambda connection: connection.execute(count).scalar_one()) == 2


@on_each_server
def test_a_connection_that_the_server_closed_is_made_again(database: Database, rival: Connection) -> None:
    tries = 0

    def work(connection: Connection) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            rival.execute(text(f"KILL {connection.execute(text('SELECT CONNECTION_ID()')).scalar_one()}"))
        set_subject(connection, "a", "ours")

    database.transact(work)
    assert (tries, subjects(database)["a"]) == (2, "ours")


@on_each_server
def test_a_read_only_server_is_tried_again_for_half_a_minute_and_then_named(
    database: Database, rival: Connection, clock: FrozenClock
) -> None:
    # Not root, whom a read-only server still lets write.
    rival.execute(text("DROP USER IF EXISTS reader@localhost"))
    rival.execute(text("CREATE USER reader@localhost IDENTIFIED BY 'r'"))
    rival.execute(text("GRANT ALL ON nightshift.* TO reader@localhost"))
    rival.execute(text("SET GLOBAL read_only = 1"))
    try:
        url = database.engine.url.set(username="reader", password="r")
        reader = Database(engine_for(url.render_as_string(hide_password=False)), clock)
        with pytest.raises(DBAPIError) as caught:
            reader.transact(lambda connection: set_subject(connection, "a", "x"))
        assert error_code(caught.value) == 1290
        assert 20 < sum(clock.slept) < PATIENCE_MS / 1000
    finally:
        rival.execute(text("SET GLOBAL read_only = 0"))
    reader.transact(lambda connection: set_subject(connection, "a", "after the failover"))
    assert subjects(database)["a"] == "after the failover"


def test_times_and_texts_come_back_as_they_went_in(database: Database) -> None:
    content = "quotes ' \" \\ % emoji 👩‍💻 right-to-left שלום"
    row = {**ROW, "day": "c", "content": content, "created_at": 4_102_444_800_000}
    database.transact(lambda connection: connection.execute(insert(digests).values(row)))
    query = select(digests.c.content, digests.c.created_at).where(digests.c.day == "c")
    assert tuple(database.transact(lambda connection: connection.execute(query).one())) == (content, 4_102_444_800_000)
