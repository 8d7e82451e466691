"""How long a statement of the cleanup waits for a row that somebody else holds."""

from collections.abc import Iterator
from contextlib import contextmanager

from chalicelib.database import Database

# The server's own 50 s, spent while a chunk of other rows is held, would be others' too.
SECONDS = 1


@contextmanager
def little_patience(database: Database) -> Iterator[None]:
    """Let the connection's statements give up after a second, and throw the connection away at the end."""
    if database.engine.dialect.name == "sqlite":
        yield
        return
    statement = f"SET SESSION innodb_lock_wait_timeout = {SECONDS}"
    database.transact(lambda connection: connection.exec_driver_sql(statement))
    try:
        yield
    finally:
        # Whoever comes next in this process gets one that waits as long as the server says.
        database.engine.dispose()
