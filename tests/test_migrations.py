"""Migrations on each database, on a new one and on one that belongs to an application already."""

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, inspect, text

from chalicelib import migrations
from chalicelib.application import metadata
from chalicelib.engine import engine_for
from chalicelib.schema import deliveries


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
