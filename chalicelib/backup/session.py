"""A connection's session as a backup reads by it: bytes as they are stored, names and values in one form."""

from typing import Any

# The server and whoever connects have settings of their own. What changes the text of values and definitions is set
# here, and so are the limits that would end a long reading, or one that waits for the network.
SETTINGS = (
    b"SET NAMES binary",
    b"SET SESSION sql_mode='',time_zone='+00:00',sql_quote_show_create=1,sql_select_limit=18446744073709551615,"
    b"net_write_timeout=3600,wait_timeout=28800,lock_wait_timeout=60",
    b"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    # Each has its own; MySQL's comments from 5.7 on are none of MariaDB's.
    b"/*M! SET SESSION max_statement_time=0,idle_transaction_timeout=0 */",
    b"/*!50708 SET SESSION max_execution_time=0 */",
)


def prepare(connection: Any) -> None:
    """Make the session one that a backup reads by. Raises pymysql.err.Error."""
    for setting in SETTINGS:
        connection.query(setting)


def ask(connection: Any, query: bytes) -> "list[tuple[Any, ...]]":
    """Return the rows of a query: numbers as such, and all else as bytes. Raises pymysql.err.Error."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def tell(connection: Any, query: bytes) -> "list[tuple[Any, ...]]":
    """Return the rows of a query whose text is UTF-8, such as names. Raises pymysql.err.Error."""
    return [tuple(v.decode() if isinstance(v, bytes) else v for v in row) for row in ask(connection, query)]
