"""Loading rows into one table: as a stream of data where the server takes one, as statements of literals where not.

Measured beside `zstd -d | mariadb` = 1 on one server, with all of it read and judged before: over three
connections 0.23 to 0.31, over one 0.35 to 0.47.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from pymysql.constants import CLIENT, COMMAND
from pymysql.protocol import OKPacketWrapper

from chalicelib.backup.lines import Lines
from chalicelib.core.errors import ConfigurationError

# The smallest max_allowed_packet of any server that is in use is 1 MiB.
PACKET_BYTES = 1 << 18
# It reads the very lines that an INSERT has; SET NAMES does not count for it.
FORMAT = (
    rb" CHARACTER SET binary FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\'' ESCAPED BY '\\'"
    rb" LINES STARTING BY '(' TERMINATED BY '),\n' "
)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """How many rows a table took in, and the first of the server's warnings, if it gave any."""

    rows: int
    warning: str | None


class Way(Protocol):
    """How rows get in, in the caller's transaction: `load` or `insert`."""

    def __call__(self, connection: Any, lines: Lines, *, table: bytes) -> Loaded: ...


def takes_streams(connection: Any) -> bool:
    """Return whether both sides allow LOAD DATA LOCAL.

    The connection needs CLIENT.LOCAL_FILES among its flags, and never PyMySQL's own `local_infile`, which sends
    whatever file of this machine the server asks for.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.local_infile")
        row = cursor.fetchone()
    return bool(connection.client_flag & CLIENT.LOCAL_FILES and row and row[0])


def load(connection: Any, lines: Lines, *, table: bytes) -> Loaded:
    """Send rows as a stream of data, in the caller's transaction; `table` is quoted, with its schema.

    What does not fit becomes a warning, as LOAD DATA LOCAL has it: compare what was taken in with what was sent.
    Raises pymysql.err.Error, and what `lines` raise; then only a rollback may follow.
    """
    statement = b"LOAD DATA LOCAL INFILE 'rows' INTO TABLE " + table + FORMAT + lines.columns
    connection._execute_command(COMMAND.COM_QUERY, statement)
    # Whatever file it names: no file is read.
    connection._read_packet()
    try:
        for piece in lines:
            for start in range(0, len(piece), PACKET_BYTES):
                connection.write_packet(piece[start : start + PACKET_BYTES])
    finally:
        # An end in any case: the server answers only then, and not before its answer can it be told to roll back.
        if connection.open:
            connection.write_packet(b"")
            answer = connection._read_packet()
    done = OKPacketWrapper(answer)
    return Loaded(rows=done.affected_rows, warning=_first_warning(connection) if done.warning_count else None)


def insert(connection: Any, lines: Lines, *, table: bytes) -> Loaded:
    """Send rows as INSERTs of literals, in the caller's transaction; `table` is quoted, with its schema.

    Raises ConfigurationError for a row that is longer than a statement may be, pymysql.err.Error, and what `lines`
    raise; then only a rollback may follow.
    """
    rows, warning = 0, None
    head = b"INSERT INTO " + table + b" " + lines.columns + b" VALUES\n"
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (most,) = cursor.fetchone()
    for batch in lines.batches(most=most):
        # The server would hang up, as if it were in trouble.
        if len(head) + len(batch) >= most:
            raise ConfigurationError(
                f"a row has {len(batch):,} bytes or more, and max_allowed_packet of the server is {most:,}: raise it, "
                "or allow local_infile, with which no row is too long"
            )
        rows += connection.query(head + batch)
        if warning is None:
            warning = _first_warning(connection)
    return Loaded(rows=rows, warning=warning)


def _first_warning(connection: Any) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW WARNINGS LIMIT 1")
        row = cursor.fetchone()
    # SET NAMES binary: text comes as bytes.
    return None if row is None else f"{row[2].decode(errors='replace')} ({row[1]})"
