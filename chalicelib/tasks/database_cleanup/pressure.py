"""Pressure: what replicas and other connections suffer, as far as the server lets us see it."""

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from chalicelib.core.database import Database, error_code

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
