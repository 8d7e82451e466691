"""The database: short transactions, and a retry of the whole transaction where that is safe."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Dialect, Engine, Insert, Table
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError

from chalicelib.clock import Clock

T = TypeVar("T")

TRANSACTION_ATTEMPTS = 4
# The third is MariaDB's, of an INSERT … SELECT whose row another transaction has changed since.
DEADLOCK, LOCK_WAIT_TIMEOUT, RECORD_CHANGED = 1213, 1205, 1020
# As in the module sqlite3, which deployments on MySQL do not import.
SQLITE_BUSY = 5
# Server gone, connection lost, read-only (the old writer after a failover), idle connection closed by the server.
LOST_CONNECTION = frozenset({2006, 2013, 1290, 4031})


class Database:
    """Runs transactions."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine = engine
        self._clock = clock

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction and return what it returns.

        A deadlock, a lock wait or a lost connection rolls back and runs the whole of `work` again, up to four
        attempts in all; `work` must therefore have no effect outside the database. Raises DBAPIError.
        """
        return self._repeat(self.begin, work)

    def autocommit(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, each of its statements a transaction by itself, and return what it returns.

        For one statement, or for several of which each is right whether or not the next is ever made: a transaction
        takes two round trips more. `work` is repeated as by `transact`, though what it did stays done.
        Raises DBAPIError.
        """
        return self._repeat(self.engine.begin, work)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Give a connection with a transaction, committed at the end of the block, rolled back by an error."""
        with self.engine.begin() as connection:
            # SQLite's plain BEGIN lets two transactions read before either writes, and one of them fails.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if self.engine.dialect.name == "sqlite" else "BEGIN")
            yield connection

    def _repeat(self, begin: Callable[[], AbstractContextManager[Connection]], work: Callable[[Connection], T]) -> T:
        for attempt in range(1, TRANSACTION_ATTEMPTS + 1):
            try:
                with begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if attempt == TRANSACTION_ATTEMPTS or not self._can_retry(error):
                    raise
                self._clock.sleep(random.uniform(0.5, 1.5) * 0.05 * 2**attempt)  # noqa: S311 (jitter, not a secret)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _can_retry(self, error: DBAPIError) -> bool:
        code = error_code(error)
        if code in LOST_CONNECTION:
            # The pool may hold more connections to the server that went away or became read-only.
            self.engine.dispose()
            return True
        return code in {DEADLOCK, LOCK_WAIT_TIMEOUT, RECORD_CHANGED, SQLITE_BUSY}


def error_code(error: DBAPIError) -> int | None:
    """Return the driver's error number: MySQL's, or SQLite's primary result code."""
    import sqlite3

    original: Any = error.orig
    if isinstance(original, sqlite3.Error):
        return getattr(original, "sqlite_errorcode", 0) & 0xFF or None
    code = original.args[0] if original is not None and original.args else None
    return code if isinstance(code, int) else None


def insert_missing(table: Table, dialect: Dialect) -> Insert:
    """Return an INSERT that leaves rows whose primary or unique key exists as they are, and reports other errors."""
    if dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing()
    # Not INSERT IGNORE: that would also swallow values that are too long or of the wrong type.
    key = next(iter(table.primary_key.columns))
    return mysql.insert(table).on_duplicate_key_update({key.name: key})
