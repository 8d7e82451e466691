"""Migrations of the database, run with Alembic from code: no alembic.ini, and the same call everywhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from chalicelib.core.errors import TransientError
from chalicelib.core.mapping import require_mapping
from chalicelib.migrations.online import LOCK_WAIT_SECONDS
from chalicelib.schema.types import table_name

# An application that uses Alembic has a table of its own of that name.
VERSIONS = table_name("alembic_version")

# Building an index of millions of rows takes minutes, in which the server says nothing.
STATEMENT_SECONDS = 3600
OTHERS_SECONDS = 5
# Of a column that holds 64 KiB or less.
SHORT_TEXTS = frozenset({"TEXT", "VARCHAR"})


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest revision; tables that the application has already are left as they are.

    Cut off at any statement, it goes on from there when it is run again. Raises PermanentError for a change that
    would stop the application's writers, ConfigurationError for tables that application.py maps otherwise than they
    are, and TransientError while another upgrade is running.
    """
    require_mapping(engine)
    if current(engine) == newest():
        return
    with _patient(engine) as connection:
        command.upgrade(_config(connection), "head")


def downgrade(engine: Engine, *, to: str) -> None:
    """Take the database back to a revision, or to "base": then nothing of Nightshift's own is left."""
    with _patient(engine) as connection:
        command.downgrade(_config(connection), to)


def advice(engine: Engine) -> list[str]:
    """Return what an operator may want to change, which a migration leaves alone because it copies the table."""
    if engine.dialect.name == "sqlite":
        return []
    jobs = table_name("jobs")
    columns = {column["name"]: column["type"] for column in inspect(engine).get_columns(jobs)}
    if type(columns["data"]).__name__ not in SHORT_TEXTS:
        return []
    return [
        f"{jobs}.data holds 64 KiB or less, and larger jobs are refused. For up to 7 MiB run this when nothing need be"
        f" written to {jobs}, which it copies: ALTER TABLE {jobs} MODIFY data MEDIUMTEXT NOT NULL"
    ]


@contextmanager
def _patient(engine: Engine) -> Iterator[Connection]:
    """Give a connection whose statements may last long, but do not wait long for others; it is the only one."""
    if engine.dialect.name == "sqlite":
        with engine.begin() as connection:
            yield connection
        return
    from chalicelib.core.connection import Connection as Driver

    try:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            driver = connection.connection.driver_connection
            if isinstance(driver, Driver):
                driver.wait_up_to(STATEMENT_SECONDS)
            for name in ("lock_wait_timeout", "innodb_lock_wait_timeout"):
                connection.execute(text(f"SET SESSION {name} = {LOCK_WAIT_SECONDS}"))
            # One that was cut off may be running still: the server ends a statement whose client has gone.
            lock = f"nightshift migrate {sha256(str(engine.url.database).encode()).hexdigest()[:16]}"
            if not connection.execute(
                text("SELECT GET_LOCK(:name, :seconds)"), {"name": lock, "seconds": OTHERS_SECONDS}
            ).scalar():
                raise TransientError("another migration of this database is running; wait until it ends")
            yield connection
    finally:
        # The next one in this process gets a connection with the usual limits, and the lock goes with this one.
        engine.dispose()


def current(engine: Engine) -> str | None:
    """Return the revision that the database is at, None for one that was never migrated."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection, opts={"version_table": VERSIONS}).get_current_revision()


@cache
def newest() -> str | None:
    """Return the revision that this code expects."""
    return ScriptDirectory.from_config(_config(None)).get_current_head()


def _config(connection: Any) -> Config:
    config = Config()
    # Alembic reads `%` in its options as interpolation, and a checkout's path may hold one.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes |= {"connection": connection, "version_table": VERSIONS}
    return config
