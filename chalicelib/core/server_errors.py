"""The errors of PyMySQL in errors of ours, for code that uses a connection without SQLAlchemy."""

from collections.abc import Iterator
from contextlib import contextmanager

from pymysql import err
from pymysql.constants import ER

from chalicelib.core.database import CONFLICTS, LOST_CONNECTION, REFUSED
from chalicelib.core.errors import ConfigurationError, PermanentError, TransientError

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
