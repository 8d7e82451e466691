"""Connections to the server for backups and restores: session settings, queries, quoting and errors."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pymysql import err
from pymysql.constants import ER

from chalicelib.core.database import CONFLICTS, LOST_CONNECTION, REFUSED
from chalicelib.core.errors import ConfigurationError, PermanentError, TransientError

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


CLOSED_HERE = 0
# KILL ended the statement or the session, in MariaDB and in MySQL.
KILLED = frozenset({1317, 3169})
LOST = REFUSED | LOST_CONNECTION | CONFLICTS | KILLED | {CLOSED_HERE}
# Out of memory, threads or disk space.
SHORT = frozenset({ER.DISK_FULL, ER.OUTOFMEMORY, ER.OUT_OF_SORTMEMORY, ER.OUT_OF_RESOURCES, ER.RECORD_FILE_FULL})
SHORT |= {ER.CANT_CREATE_THREAD, ER.ERROR_ON_WRITE}
DENIED = frozenset({ER.ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, ER.TABLEACCESS_DENIED_ERROR})
DENIED |= {ER.COLUMNACCESS_DENIED_ERROR, ER.SPECIFIC_ACCESS_DENIED_ERROR, ER.PROCACCESS_DENIED_ERROR}


class MissingPrivilegeError(ConfigurationError):
    """The database user lacks a privilege."""


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Raise TransientError, ConfigurationError or PermanentError for an error of the database during `what`."""
    try:
        yield
    except err.MySQLError as error:
        code, text = (*error.args, "")[:2] if error.args else (CLOSED_HERE, "")
        if code in LOST:
            raise TransientError(
                f"{what}: the database connection was lost, or the database is busy ({code}: {text}); try again"
            ) from error
        if code == ER.BINLOG_CREATE_ROUTINE_NEED_SUPER:
            raise ConfigurationError(
                f"{what}: the server has a binary log, so only an administrator may make functions and triggers: "
                "SET GLOBAL log_bin_trust_function_creators = 1, on RDS in its parameter group"
            ) from error
        if code in SHORT:
            raise TransientError(f"{what}: the server is out of memory or disk space: {text} ({code})") from error
        if code in DENIED:
            raise MissingPrivilegeError(f"{what}: the database user lacks a privilege: {text} ({code})") from error
        raise PermanentError(f"{what}: {text} ({code})") from error
