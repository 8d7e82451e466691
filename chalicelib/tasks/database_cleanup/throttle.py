"""Pressure: what replicas and other connections suffer, as far as the server lets us see it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from chalicelib.core.context import Context
from chalicelib.core.database import Database, error_code
from chalicelib.core.errors import OutOfTimeError, TransientError
from chalicelib.core.telemetry import logger

# The second name is that of MySQL before 8.0.22 and MariaDB before 10.5.
STATUS_OF_REPLICA = ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS")
BEHIND = frozenset({"Seconds_Behind_Master", "Seconds_Behind_Source"})
SYNTAX_ERROR, ACCESS_DENIED = 1064, 1227
ROW_LOCK_TIME = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_time'"


class Pressure:
    """What one server shows of it; SQLite knows neither replicas nor row locks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        is_server = database.engine.dialect.name != "sqlite"
        self._status_of_replica = list(STATUS_OF_REPLICA) if is_server else []
        self._lock_ms = self._read_lock_ms() if is_server else None

    def seconds_behind(self) -> int:
        """Return how far replication is behind; 0 where there is none, it stands still, or we may not ask."""
        while self._status_of_replica:
            try:
                return self._database.transact(self._read_seconds_behind)
            except DBAPIError as error:
                if error_code(error) not in {SYNTAX_ERROR, ACCESS_DENIED}:
                    raise
                self._status_of_replica.pop(0)
        return 0

    def lock_wait_ms(self) -> int:
        """Return for how long connections have waited for rows, taken together, since this was asked last."""
        if self._lock_ms is None:
            return 0
        before, self._lock_ms = self._lock_ms, self._read_lock_ms()
        return self._lock_ms - before

    def _read_seconds_behind(self, connection: Connection) -> int:
        rows = connection.exec_driver_sql(self._status_of_replica[0]).mappings()
        return max((int(value or 0) for row in rows for name, value in row.items() if name in BEHIND), default=0)

    def _read_lock_ms(self) -> int:
        def work(connection: Connection) -> Any:
            return connection.exec_driver_sql(ROW_LOCK_TIME).one_or_none()

        # Not every server that speaks MySQL's language has InnoDB's counters.
        row = self._database.transact(work)
        return 0 if row is None else int(row[1])


# Below the least, committing costs more than deleting.
FIRST, LEAST = 1000, 300
# As long as a transaction takes, others may have to wait.
CHUNK_MS = 25
# Asking costs more than a small chunk.
LOOK_EVERY_MS = 1000
MOST_SECONDS_BEHIND = 10
MOST_LOCK_WAIT_MS = 200
# A pause is twice as long as the one before; after so many in a row it is for a person to look.
MOST_PAUSES = 7
# For a row that somebody else holds. The server's own 50 s, spent while we hold others, would be others' too.
LOCK_WAIT_SECONDS = 1


class Pace:
    """The pace of one rule: chunks of `size` rows."""

    def __init__(self, context: Context, pressure: Pressure, *, most: int) -> None:
        self._context = context
        self._pressure = pressure
        self._most = most
        self._pauses = 0
        self._next_look_ms = 0
        self.size = min(FIRST, most)

    def keep(self, duration_ms: int) -> None:
        """Make the next chunk as large as would have taken CHUNK_MS, by what this one has taken, step by step."""
        self._pauses = 0
        factor = min(1.5, max(0.5, CHUNK_MS / max(1, duration_ms)))
        self._resize(round(factor * self.size))

    def give_way(self) -> None:
        """Wait until replicas have caught up, and a moment when others have waited for locks. Raises as `pause`."""
        if self._context.clock.now_ms() < self._next_look_ms:
            return
        while (seconds := self._pressure.seconds_behind()) > MOST_SECONDS_BEHIND:
            self.pause(f"replication is {seconds} s behind")
        if (waited_ms := self._pressure.lock_wait_ms()) > MOST_LOCK_WAIT_MS:
            self.pause(f"connections have waited {waited_ms} ms for locks")
        self._next_look_ms = self._context.clock.now_ms() + LOOK_EVERY_MS

    def pause(self, reason: str) -> None:
        """Wait, with smaller chunks afterwards.

        Raises TransientError after too many pauses without a chunk in between, OutOfTimeError near the deadline.
        """
        if self._pauses == MOST_PAUSES:
            raise TransientError(f"given up after {self._pauses} pauses: {reason}")
        seconds = 2**self._pauses
        if self._context.is_out_of_time(needed_ms=1000 * seconds):
            raise OutOfTimeError(reason)
        self._pauses += 1
        self._resize(self.size // 2)
        logger.warning("cleanup pauses", extra={"reason": reason, "seconds": seconds, "rows": self.size})
        self._context.clock.sleep(seconds)
        # Those who waited meanwhile did not wait for us. Before, we may have waited ourselves, which the server counts
        # too: the next look would take that for theirs, and pause again.
        self._pressure.lock_wait_ms()

    def go_singly(self) -> bool:
        """Take fewer rows at once, down to one; return whether it was one already."""
        was_one = self.size == 1
        self.size = max(1, self.size // 4)
        return was_one

    def _resize(self, rows: int) -> None:
        self.size = min(self._most, max(rows, min(LEAST, self.size)))


@contextmanager
def little_patience(database: Database) -> Iterator[None]:
    """Let statements wait only LOCK_WAIT_SECONDS for a row that is held; throw the connection away at the end."""
    if database.engine.dialect.name == "sqlite":
        yield
        return
    statement = f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS}"
    database.transact(lambda connection: connection.exec_driver_sql(statement))
    try:
        yield
    finally:
        # Whoever comes next in this process gets one that waits as long as the server says.
        database.engine.dispose()
