"""Throttle the cleanup: choose the size of chunks, and pause while replicas or other transactions wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from chalicelib.api import Context, OutOfTimeError, TransientError, logger
from chalicelib.core.database import Database, error_code

# With fewer rows than the minimum, a commit costs more than its deletes.
FIRST_ROWS, MIN_ROWS = 1000, 300
# Other transactions may wait as long as a chunk takes.
CHUNK_MS = 25
# A check costs more than a small chunk.
CHECK_INTERVAL_MS = 1000
MAX_LAG_SECONDS = 10
MAX_LOCK_WAIT_MS = 200
# Each pause is twice as long as the one before it, 127 s in all.
MAX_PAUSES = 7
# The server's default is 50 s, during which others would wait for the rows that this transaction holds.
LOCK_WAIT_SECONDS = 1

# The second statement is for MySQL before 8.0.22 and MariaDB before 10.5.
REPLICA_STATUS = ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS")
LAG_COLUMNS = frozenset({"Seconds_Behind_Master", "Seconds_Behind_Source"})
SYNTAX_ERROR, ACCESS_DENIED = 1064, 1227
ROW_LOCK_TIME = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_time'"


class ServerLoad:
    """Replication lag and waits for locks, as far as the server shows them; SQLite has neither."""

    def __init__(self, database: Database) -> None:
        self._database = database
        is_server = database.engine.dialect.name != "sqlite"
        self._replica_status = list(REPLICA_STATUS) if is_server else []
        self._lock_ms = self._read_lock_ms() if is_server else None

    def lag_seconds(self) -> int:
        """Return the replication lag; 0 without replication, while it is stopped, or without the permission to ask."""
        while self._replica_status:
            try:
                return self._database.transact(self._read_lag)
            except DBAPIError as error:
                if error_code(error) not in {SYNTAX_ERROR, ACCESS_DENIED}:
                    raise
                self._replica_status.pop(0)
        return 0

    def lock_wait_ms(self) -> int:
        """Return the total time that transactions have waited for row locks since the last call."""
        if self._lock_ms is None:
            return 0
        before, self._lock_ms = self._lock_ms, self._read_lock_ms()
        return self._lock_ms - before

    def _read_lag(self, connection: Connection) -> int:
        rows = connection.exec_driver_sql(self._replica_status[0]).mappings()
        return max((int(value or 0) for row in rows for name, value in row.items() if name in LAG_COLUMNS), default=0)

    def _read_lock_ms(self) -> int:
        def work(connection: Connection) -> Any:
            return connection.exec_driver_sql(ROW_LOCK_TIME).one_or_none()

        # Not every server that is compatible with MySQL has InnoDB's counters.
        row = self._database.transact(work)
        return 0 if row is None else int(row[1])


class Throttle:
    """The number of `rows` in a rule's next chunk, and the pauses between chunks."""

    def __init__(self, context: Context, load: ServerLoad, *, max_rows: int) -> None:
        self._context = context
        self._load = load
        self._max_rows = max_rows
        self._pauses = 0
        self._next_check_ms = 0
        self.rows = min(FIRST_ROWS, max_rows)

    def adapt(self, duration_ms: int) -> None:
        """Resize the next chunk towards CHUNK_MS, given how long the last one took."""
        self._pauses = 0
        factor = min(1.5, max(0.5, CHUNK_MS / max(1, duration_ms)))
        self._resize(round(factor * self.rows))

    def wait(self) -> None:
        """Pause until replicas have caught up, and once when others have waited for locks. Raises as `pause`."""
        if self._context.clock.now_ms() < self._next_check_ms:
            return
        while (seconds := self._load.lag_seconds()) > MAX_LAG_SECONDS:
            self.pause(f"replication is {seconds} s behind")
        if (waited_ms := self._load.lock_wait_ms()) > MAX_LOCK_WAIT_MS:
            self.pause(f"connections have waited {waited_ms} ms for locks")
        self._next_check_ms = self._context.clock.now_ms() + CHECK_INTERVAL_MS

    def pause(self, reason: str) -> None:
        """Sleep, and halve the next chunk.

        Raises TransientError after MAX_PAUSES pauses without a chunk in between, OutOfTimeError near the deadline.
        """
        if self._pauses == MAX_PAUSES:
            raise TransientError(f"given up after {self._pauses} pauses: {reason}")
        seconds = 2**self._pauses
        if self._context.is_out_of_time(needed_ms=1000 * seconds):
            raise OutOfTimeError(reason)
        self._pauses += 1
        self._resize(self.rows // 2)
        logger.warning("cleanup paused", extra={"reason": reason, "seconds": seconds, "rows": self.rows})
        self._context.clock.sleep(seconds)
        # Reset the counter: waits during the pause were not for the cleanup, and those before it may be its own.
        self._load.lock_wait_ms()

    def shrink_batch(self) -> bool:
        """Quarter the next chunk, down to one row; return whether it already was one row."""
        was_one = self.rows == 1
        self.rows = max(1, self.rows // 4)
        return was_one

    def _resize(self, rows: int) -> None:
        self.rows = min(self._max_rows, max(rows, min(MIN_ROWS, self.rows)))


@contextmanager
def short_lock_timeout(database: Database) -> Iterator[None]:
    """Limit waits for row locks to LOCK_WAIT_SECONDS."""
    if database.engine.dialect.name == "sqlite":
        yield
        return
    statement = f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS}"
    database.transact(lambda connection: connection.exec_driver_sql(statement))
    try:
        yield
    finally:
        # The next task in this process needs a connection with the server's own time-out.
        database.engine.dispose()
