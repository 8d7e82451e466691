"""A connection to MySQL that spares the round trips which change nothing."""

from pymysql.connections import Connection as PyMySQLConnection
from pymysql.constants.SERVER_STATUS import SERVER_STATUS_IN_TRANS


class Connection(PyMySQLConnection):
    """PyMySQL's; every statement commits by itself, until a BEGIN. What is not begun is not ended either.

    SQLAlchemy commits after a statement that committed itself, and rolls back before a connection goes to its pool.
    """

    # Of the latest answer, which says whether a transaction is open.
    server_status: int
    _read_timeout: float | None

    def wait_up_to(self, seconds: float) -> None:
        """Let statements take so long from now on."""
        self._read_timeout = seconds

    def commit(self) -> None:
        """End the transaction, where there is one."""
        if self.server_status & SERVER_STATUS_IN_TRANS:
            super().commit()

    def rollback(self) -> None:
        """Undo the transaction, where there is one."""
        if self.server_status & SERVER_STATUS_IN_TRANS:
            super().rollback()
