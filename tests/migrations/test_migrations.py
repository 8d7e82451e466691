"""Migrations on each database, on a new one and on one that belongs to an application already."""

from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Text,
    column,
    create_engine,
    event,
    insert,
    inspect,
    select,
    table,
    text,
)

from chalicelib import migrations
from chalicelib.application import metadata
from chalicelib.core.engine import READ_TIMEOUT_SECONDS, engine_for
from chalicelib.core.errors import PermanentError, TransientError
from chalicelib.migrations import online
from chalicelib.schema import deliveries, jobs, runs
from tests.migrations.applications import GUIDE_JOBS, fresh
from tests.servers import on_both


@pytest.fixture(params=["sqlite", "mysql", "mariadb"])
def empty(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """An engine on a database of its own, without tables."""
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{request.getfixturevalue('tmp_path') / 'empty.db'}")
        yield engine
        engine.dispose()
        return
    server = engine_for(request.getfixturevalue(f"{request.param}_url"))
    with server.begin() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS untouched"))
        connection.execute(text("CREATE DATABASE untouched"))
    engine = create_engine(server.url.set(database="untouched"))
    yield engine
    engine.dispose()


def test_the_migrated_schema_is_the_declared_one(empty: Engine) -> None:
    migrations.upgrade(empty)
    with empty.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_migrating_twice_changes_nothing(empty: Engine) -> None:
    migrations.upgrade(empty)
    before = inspect(empty).get_table_names()
    migrations.upgrade(empty)
    assert inspect(empty).get_table_names() == before


def test_the_applications_own_tables_are_left_as_they_are(empty: Engine) -> None:
    with empty.begin() as connection:
        connection.execute(text("CREATE TABLE users (id CHAR(36) PRIMARY KEY, nickname VARCHAR(20))"))
        connection.execute(text("INSERT INTO users VALUES ('u1', 'owl')"))
    migrations.upgrade(empty)
    assert [column["name"] for column in inspect(empty).get_columns("users")] == ["id", "nickname"]
    migrations.downgrade(empty, to="base")
    with empty.connect() as connection:
        assert connection.execute(text("SELECT nickname FROM users")).scalar_one() == "owl"
    assert "runs" not in inspect(empty).get_table_names()


def test_an_interrupted_upgrade_is_completed_by_the_next_one(empty: Engine) -> None:
    migrations.upgrade(empty)
    with empty.begin() as connection:
        # MySQL commits each CREATE TABLE at once, so a killed upgrade leaves tables without a revision.
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        connection.execute(text("DROP TABLE deliveries"))
    migrations.upgrade(empty)
    assert "deliveries" in inspect(empty).get_table_names()


def test_a_database_of_the_revision_before_gets_the_same_schema_as_a_new_one(empty: Engine) -> None:
    migrations.upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0008'"))
        operations = Operations(MigrationContext.configure(connection))
        operations.drop_index("ix_jobs_backlog", "jobs")
        operations.create_index("ix_jobs_dispatch", "jobs", ["dispatch_at"])
        with operations.batch_alter_table("runs") as batch:
            batch.alter_column("checkpoint", type_=Text(), existing_nullable=True)
        with operations.batch_alter_table("rate_slots") as batch:
            batch.alter_column("next_at", type_=BigInteger(), existing_nullable=False)
    migrations.upgrade(empty)
    with empty.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


REASONS = {
    ("missed", "AbsentError"): "no_fire",
    ("missed", "OverlapError"): "overlap",
    ("missed", "PausedError"): "paused",
    ("missed", "HeldBackError"): "held_back",
    ("missed", "overlap"): "overlap",
    ("failed", "OverlapError"): "OverlapError",
    ("succeeded", None): None,
}


def reasons_of_runs(engine: Engine) -> dict[str, str | None]:
    with engine.connect() as connection:
        return {row.id: row.error_type for row in connection.execute(select(runs.c.id, runs.c.error_type))}


def test_reasons_of_missed_runs_are_renamed_and_those_of_other_runs_are_not(empty: Engine) -> None:
    migrations.upgrade(empty)
    migrations.downgrade(empty, to="0010")
    rows = [
        {"id": str(n), "task": "t", "scheduled_for": n, "trigger": "schedule", "status": status, "error_type": old}
        | {"attempt": 0, "failures": 0, "lease_until": 0, "request_id": "", "started_at": n}
        for n, (status, old) in enumerate(REASONS)
    ]
    with empty.begin() as connection:
        connection.execute(insert(runs), rows)
    migrations.upgrade(empty)
    assert reasons_of_runs(empty) == {str(n): new for n, new in enumerate(REASONS.values())}
    migrations.downgrade(empty, to="0010")
    assert reasons_of_runs(empty)["0"] == "AbsentError"


@on_both
def test_the_ledger_joins_users_whatever_their_collation(server_url: str) -> None:
    server = engine_for(server_url)
    with server.begin() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS collated"))
        connection.execute(text("CREATE DATABASE collated"))
    engine = create_engine(server.url.set(database="collated"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE users (id CHAR(36) COLLATE utf8mb4_bin PRIMARY KEY, email VARCHAR(99))"))
    migrations.upgrade(engine)
    with engine.connect() as connection:
        joined = text(f"SELECT COUNT(*) FROM {deliveries.name} JOIN users ON users.id = deliveries.user_id")
        assert connection.execute(joined).scalar_one() == 0
    engine.dispose()


WRITES = ("ALTER", "CREATE", "DROP", "UPDATE", "INSERT", "DELETE")


class Cut(BaseException):
    """The process ends."""


def fill_jobs(engine: Engine, count: int, *, status: str) -> None:
    rows = [
        {"id": f"{status}{n:06}", "type": "t", "data": "{}", "status": status, "created_at": n} for n in range(count)
    ]
    with engine.begin() as connection:
        connection.execute(insert(table("jobs", *(column(name) for name in rows[0]))), rows)


def dispatch_moments(engine: Engine) -> dict[str, set[int | None]]:
    """Return by status the values of `dispatch_at`."""
    found: dict[str, set[int | None]] = {}
    with engine.connect() as connection:
        for status, moment in connection.execute(select(jobs.c.status, jobs.c.dispatch_at)):
            found.setdefault(status, set()).add(moment)
    return found


def test_an_upgrade_that_is_cut_off_after_each_statement_reaches_the_same_schema(mysql_url: str) -> None:
    engine = fresh(mysql_url, GUIDE_JOBS, "CREATE INDEX theirs ON jobs (status, created_at, type)")
    fill_jobs(engine, 3, status="pending")
    fill_jobs(engine, 3, status="processing")
    seen: set[str] = set()

    def cut(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        # One that is repeated, because it does nothing the second time, is not cut again: else nothing would end.
        told = f"{statement} {parameters}"
        if statement.lstrip().upper().startswith(WRITES) and told not in seen:
            seen.add(told)
            raise Cut

    event.listen(engine, "after_cursor_execute", cut)
    while True:
        try:
            migrations.upgrade(engine)
            break
        except Cut:
            engine.dispose()
    event.remove(engine, "after_cursor_execute", cut)
    assert len(seen) > 40
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    # Their own index stays, and is as good as ours; their column is not copied.
    assert {
        (each[0][0], each[0][3]) if isinstance(each, list) else (each[0], each[1].name) for each in differences
    } == {
        ("modify_type", "data"),
        ("remove_index", "theirs"),
        ("add_index", "ix_jobs_status"),
    }
    assert dispatch_moments(engine) == {"pending": {0}, "processing": {None}}


def test_an_old_jobs_table_is_extended_without_writing_to_what_is_over(database_engine: Engine) -> None:
    fill_jobs(database_engine, online.CHUNK + 5, status="pending")
    fill_jobs(database_engine, 2 * online.CHUNK, status="completed")
    written: list[int] = []

    def count(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE jobs"):
            written.append(cursor.rowcount)

    event.listen(database_engine, "after_cursor_execute", count)
    migrations.upgrade(database_engine)
    assert written == [online.CHUNK, 5]
    assert dispatch_moments(database_engine) == {"pending": {0}, "completed": {None}}
    # Producers go on with the guide's columns.
    fill_jobs(database_engine, 1, status="pend")
    assert dispatch_moments(database_engine)["pend"] == {0}


@pytest.fixture(params=["mysql", "mariadb"])
def database_engine(request: pytest.FixtureRequest) -> Engine:
    return fresh(request.getfixturevalue(f"{request.param}_url"), GUIDE_JOBS)


def test_no_change_of_the_applications_tables_copies_them_or_locks_out_writers(database_engine: Engine) -> None:
    statements: list[str] = []
    event.listen(
        database_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: statements.append(statement),
    )
    migrations.upgrade(database_engine)
    changes = [each for each in statements if each.startswith("ALTER TABLE") or "INDEX" in each.split("(")[0]]
    theirs = [each for each in changes if each.split()[2] in {"jobs", "external_data", "users", "posts", "sessions"}]
    assert theirs
    assert [each for each in theirs if not each.endswith(("ALGORITHM=INSTANT", online.IN_PLACE))] == []


def test_a_short_data_column_is_left_alone_and_the_statement_for_it_is_offered(database_engine: Engine) -> None:
    migrations.upgrade(database_engine)
    (sentence,) = migrations.advice(database_engine)
    statement = sentence.rpartition(": ")[2]
    assert statement.startswith("ALTER TABLE jobs MODIFY data")
    with database_engine.begin() as connection:
        connection.execute(text(statement))
    assert migrations.advice(database_engine) == []


def test_a_large_table_that_can_only_be_copied_is_refused_with_the_statement_to_run(mysql_url: str) -> None:
    # A full-text index keeps MySQL from adding columns at once.
    engine = fresh(mysql_url, GUIDE_JOBS, "CREATE FULLTEXT INDEX words ON jobs (data)")
    fill_jobs(engine, online.SMALL + 1, status="completed")
    with pytest.raises(PermanentError, match="copying it") as caught:
        migrations.upgrade(engine)
    assert migrations.current(engine) == "0002"
    statement = str(caught.value).rpartition("again: ")[2]
    with engine.begin() as connection:
        connection.execute(text(statement))
        connection.execute(text("DROP INDEX words ON jobs"))
    migrations.upgrade(engine)
    assert migrations.current(engine) == migrations.newest()


def test_a_small_table_that_can_only_be_copied_is_copied(mysql_url: str) -> None:
    engine = fresh(mysql_url, GUIDE_JOBS, "CREATE FULLTEXT INDEX words ON jobs (data)")
    fill_jobs(engine, 3, status="pending")
    migrations.upgrade(engine)
    assert dispatch_moments(engine) == {"pending": {0}}


def test_a_second_upgrade_is_refused_while_one_is_running(
    database_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "OTHERS_SECONDS", 0)
    told: list[Exception] = []

    def upgrade_too() -> None:
        second = create_engine(database_engine.url)
        try:
            migrations.upgrade(second)
        except TransientError as error:
            told.append(error)
        second.dispose()

    def meanwhile(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("ALTER TABLE jobs ADD COLUMN") and not told:
            thread = Thread(target=upgrade_too)
            thread.start()
            thread.join()

    event.listen(database_engine, "before_cursor_execute", meanwhile)
    migrations.upgrade(database_engine)
    assert "another migration" in str(told[0])


def test_an_upgrade_waits_for_a_long_transaction_and_lets_others_through(
    database_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_WAIT_SECONDS", 1)
    fill_jobs(database_engine, 1, status="pending")
    theirs = create_engine(database_engine.url)
    reader, writer = theirs.connect(), theirs.connect().execution_options(isolation_level="AUTOCOMMIT")
    reader.execute(text("SELECT * FROM jobs"))
    attempts: list[str] = []

    def between_attempts(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "ALTER TABLE jobs ADD COLUMN queue" in statement:
            attempts.append(statement)
            if len(attempts) == 2:
                # Nobody waits behind a change that waits no more.
                _insert(writer)
                reader.rollback()

    event.listen(database_engine, "before_cursor_execute", between_attempts)
    migrations.upgrade(database_engine)
    assert len(attempts) == 2
    assert dispatch_moments(database_engine) == {"pending": {0}}
    reader.close()
    writer.close()
    theirs.dispose()


def _insert(connection: Connection) -> None:
    statement = "INSERT INTO jobs (id, type, data, status, created_at) VALUES ('late', 't', '{}', 'pending', 1)"
    connection.execute(text(statement))


def test_statements_of_an_upgrade_may_last_longer_than_others_do(database_engine: Engine) -> None:
    limits: list[float | None] = []

    def note(connection: Connection, *_: Any) -> None:
        limits.append(getattr(connection.connection.driver_connection, "_read_timeout", None))

    event.listen(database_engine, "before_cursor_execute", note)
    migrations.upgrade(database_engine)
    assert migrations.STATEMENT_SECONDS in limits
    with database_engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    assert limits[-1] == READ_TIMEOUT_SECONDS
