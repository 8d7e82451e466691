"""A connection to MySQL that omits commits and rollbacks that have no effect."""

from pymysql.connections import Connection as PyMySQLConnection
from pymysql.constants.SERVER_STATUS import SERVER_STATUS_IN_TRANS


class Connection(PyMySQLConnection):
    """PyMySQL's connection in autocommit mode, which ends only transactions that a BEGIN has started.

    SQLAlchemy commits after each statement, and rolls back before it returns a connection to its pool.
    """

    # The status in the server's latest answer; it says whether a transaction is open.
    server_status: int
    _read_timeout: float | None

    def wait_up_to(self, seconds: float) -> None:
        """Allow statements to take so long from now on."""
        self._read_timeout = seconds

    def commit(self) -> None:
        """Commit the transaction, if one is open."""
        if self.server_status & SERVER_STATUS_IN_TRANS:
            super().commit()

    def rollback(self) -> None:
        """Roll back the transaction, if one is open."""
        if self.server_status & SERVER_STATUS_IN_TRANS:
            super().rollback()
