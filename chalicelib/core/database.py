"""The database: short transactions, each retried as a whole when that is safe."""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import RLock
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Dialect, Engine, Insert, Table, func, select
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError

from chalicelib.core.clock import Clock
from chalicelib.core.engine import CONNECT_TIMEOUT_SECONDS

T = TypeVar("T")

TRANSACTION_ATTEMPTS = 4
# The third is MariaDB's, of an INSERT … SELECT whose row another transaction has changed since.
DEADLOCK, LOCK_WAIT_TIMEOUT, RECORD_CHANGED = 1213, 1205, 1020
# As in the module sqlite3, which deployments on MySQL do not import.
SQLITE_BUSY = 5
CONFLICTS = frozenset({DEADLOCK, LOCK_WAIT_TIMEOUT, RECORD_CHANGED, SQLITE_BUSY})
# Server gone, connection lost, idle connection closed by the server, connection killed (MariaDB).
LOST_CONNECTION = frozenset({2006, 2013, 4031, 1927})
# Errors of a server that restarts or fails over; the statement had no effect. The server cannot be reached (2002,
# 2003), has no free connection (1040, 1203), shuts down (1053), is offline (3032), or is read-only, as the old writer
# is after a failover (1290, 1792, 1836, and 1015 on Aurora).
REFUSED = frozenset({2002, 2003, 1040, 1203, 1053, 3032, 1290, 1792, 1836, 1015})
# The longest pause between two attempts at a server that refuses.
LONGEST_PAUSE_SECONDS = 2.0
# How long a transaction waits for such a server outside an invocation, which has a deadline.
PATIENCE_MS = 30_000


class Database:
    """Runs transactions."""

    def __init__(self, engine: Engine, clock: Clock, *, patience_ms: Callable[[], int] = lambda: PATIENCE_MS) -> None:
        """`patience_ms` returns how long a transaction that begins now may wait for a server that refuses."""
        self.engine = engine
        # Jobs on threads take turns at one connection: each worker has one, however many jobs it does side by side.
        self._turn = RLock()
        self._clock = clock
        self._patience_ms = patience_ms

    def transact(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction and return what it returns.

        A deadlock, a lock wait or a lost connection rolls back and runs the whole of `work` again, up to four
        attempts in all; if the server refuses, it waits as long as its patience lasts. `work` must therefore have no
        effect outside the database. Raises DBAPIError.
        """
        return self._repeat(self.begin, work)

    def autocommit(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, each of its statements a transaction by itself, and return what it returns.

        For one statement, or for several that are each correct without the next: a transaction takes two more round
        trips. `work` is repeated as by `transact`, but what it has done stays.
        Raises DBAPIError.
        """
        return self._repeat(self.engine.begin, work)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Give a connection with a transaction, committed at the end of the block, rolled back by an error."""
        with self._turn, self.engine.begin() as connection:
            # SQLite's plain BEGIN lets two transactions read before either writes, and one of them fails.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if self.engine.dialect.name == "sqlite" else "BEGIN")
            yield connection

    def _repeat(self, begin: Callable[[], AbstractContextManager[Connection]], work: Callable[[Connection], T]) -> T:
        give_up_ms = self._clock.now_ms() + self._patience_ms()
        failures = pauses = 0
        while True:
            try:
                with self._turn, begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                # A jitter, not a secret.
                seconds = random.uniform(0.5, 1.5) * min(0.1 * 2**pauses, LONGEST_PAUSE_SECONDS)  # noqa: S311
                if is_refused(error):
                    # A server that does not answer at all takes the whole time-out.
                    next_ms = self._clock.now_ms() + 1000 * (seconds + CONNECT_TIMEOUT_SECONDS)
                    can_repeat = next_ms < give_up_ms
                else:
                    failures += 1
                    can_repeat = failures < TRANSACTION_ATTEMPTS and error_code(error) in LOST_CONNECTION | CONFLICTS
                if error_code(error) in LOST_CONNECTION | REFUSED:
                    # The pool's other connections are to the same server, which is gone or read-only.
                    self.engine.dispose()
                if not can_repeat:
                    raise
                pauses += 1
                self._clock.sleep(seconds)


def is_server_fault(error: Exception | None) -> bool:
    """Return whether a transaction failed for a reason other than its rows.

    A lost connection does not count: the server also closes it on a statement longer than max_allowed_packet.
    """
    return isinstance(error, DBAPIError) and (is_refused(error) or error_code(error) in CONFLICTS)


def is_refused(error: DBAPIError) -> bool:
    """Return whether the server refused, and will probably accept the same within seconds or minutes."""
    # PyMySQL has one code for an invalid certificate and a server that cannot be reached.
    cause = getattr(error.orig, "original_exception", None)
    return error_code(error) in REFUSED and type(cause).__name__ != "SSLCertVerificationError"


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


def distinct_values(connection: Connection, column: Column[str], *conditions: ColumnElement[bool]) -> Iterator[str]:
    """Yield the values of a column in order, by one seek each in an index of what the conditions fix and the column.

    DISTINCT may read the whole index instead, depending on the server's statistics.
    """
    value = connection.execute(select(func.min(column)).where(*conditions)).scalar()
    while value is not None:
        yield value
        value = connection.execute(select(func.min(column)).where(*conditions, column > value)).scalar()
