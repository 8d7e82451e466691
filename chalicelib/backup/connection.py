"""Connections to the server for backups and restores: session settings, queries and quoting."""

from collections.abc import Iterable
from typing import Any

# Settings that change the text of values and definitions, and limits that would end a long or slow read. Servers and
# clients have other defaults.
SETTINGS = (
    b"SET NAMES binary",
    b"SET SESSION sql_mode='',time_zone='+00:00',sql_quote_show_create=1,sql_select_limit=18446744073709551615,"
    b"net_write_timeout=3600,wait_timeout=28800,lock_wait_timeout=60",
    b"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    # MariaDB ignores MySQL's conditional comments from 5.7 on.
    b"/*M! SET SESSION max_statement_time=0,idle_transaction_timeout=0 */",
    b"/*!50708 SET SESSION max_execution_time=0 */",
)


def prepare_session(connection: Any) -> None:
    """Apply the settings for reading a backup. Raises pymysql.err.Error."""
    for setting in SETTINGS:
        connection.query(setting)


def query_bytes(connection: Any, query: bytes) -> "list[tuple[Any, ...]]":
    """Return the rows of a query: numbers as numbers, everything else as bytes. Raises pymysql.err.Error."""
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def query_text(connection: Any, query: bytes) -> "list[tuple[Any, ...]]":
    """Return the rows of a query, with bytes decoded as UTF-8. Raises pymysql.err.Error."""
    return [tuple(v.decode() if isinstance(v, bytes) else v for v in row) for row in query_bytes(connection, query)]


# The quote and the escape character, and bytes that the command-line client changes or reads as the end of a row.
_ESCAPES = [
    (b"\\", b"\\\\"),
    (b"'", b"\\'"),
    (b"\0", b"\\0"),
    (b"\n", b"\\n"),
    (b"\r", b"\\r"),
    (b"\x1a", b"\\Z"),
]


def quoted(name: str) -> bytes:
    """Return a name in backticks."""
    return b"`" + name.encode().replace(b"`", b"``") + b"`"


def listed(names: Iterable[str]) -> bytes:
    """Return quoted names, separated by commas."""
    return b",".join(map(quoted, names))


def escaped(value: bytes) -> bytes:
    """Escape a value, or a piece of one, for use between quotes."""
    for plain, escape in _ESCAPES:
        value = value.replace(plain, escape)
    return value


def literal(value: bytes) -> bytes:
    """Return a value as an SQL literal."""
    return b"'" + escaped(value) + b"'"
