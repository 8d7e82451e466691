"""A connection's session as a backup reads by it: bytes as they are stored, names and values in one form."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pymysql import err
from pymysql.constants import ER

from chalicelib.core.database import CONFLICTS, LOST_CONNECTION, REFUSED
from chalicelib.core.errors import ConfigurationError, PermanentError, TransientError

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


# The quote and the escape themselves, and what the plain client would change or take for the end of a row.
_ESCAPES = [
    (b"\\", b"\\\\"),
    (b"'", b"\\'"),
    (b"\0", b"\\0"),
    (b"\n", b"\\n"),
    (b"\r", b"\\r"),
    (b"\x1a", b"\\Z"),
]


def quoted(name: str) -> bytes:
    """Return a name as SQL has it."""
    return b"`" + name.encode().replace(b"`", b"``") + b"`"


def listed(names: Iterable[str]) -> bytes:
    """Return names between commas."""
    return b",".join(map(quoted, names))


def escaped(value: bytes) -> bytes:
    """Return a value, or any piece of one, as it stands between quotes."""
    for plain, escape in _ESCAPES:
        value = value.replace(plain, escape)
    return value


def literal(value: bytes) -> bytes:
    """Return a value as SQL has it."""
    return b"'" + escaped(value) + b"'"


CLOSED_HERE = 0
# Somebody ended the statement or the session; MySQL has numbers of its own for that.
KILLED = frozenset({1317, 3169})
LOST = REFUSED | LOST_CONNECTION | CONFLICTS | KILLED | {CLOSED_HERE}
# Of memory, threads or space on its disks.
SHORT = frozenset({ER.DISK_FULL, ER.OUTOFMEMORY, ER.OUT_OF_SORTMEMORY, ER.OUT_OF_RESOURCES, ER.RECORD_FILE_FULL})
SHORT |= {ER.CANT_CREATE_THREAD, ER.ERROR_ON_WRITE}
DENIED = frozenset({ER.ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, ER.TABLEACCESS_DENIED_ERROR})
DENIED |= {ER.COLUMNACCESS_DENIED_ERROR, ER.SPECIFIC_ACCESS_DENIED_ERROR, ER.PROCACCESS_DENIED_ERROR}


class DeniedError(ConfigurationError):
    """The database user lacks a privilege."""


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise TransientError, ConfigurationError or PermanentError for an error of the database during `what`."""
    try:
        yield
    except err.MySQLError as error:
        code, text = (*error.args, "")[:2] if error.args else (CLOSED_HERE, "")
        if code in LOST:
            raise TransientError(
                f"{what}: the database was lost or busy ({code}: {text}); do the same again"
            ) from error
        if code == ER.BINLOG_CREATE_ROUTINE_NEED_SUPER:
            raise ConfigurationError(
                f"{what}: the server has a binary log, so only an administrator may make functions and triggers: "
                "SET GLOBAL log_bin_trust_function_creators = 1, on RDS in its parameter group"
            ) from error
        if code in SHORT:
            raise TransientError(f"{what}: the server is short of memory or space: {text} ({code})") from error
        if code in DENIED:
            raise DeniedError(f"{what}: the database user lacks a privilege: {text} ({code})") from error
        raise PermanentError(f"{what}: {text} ({code})") from error
