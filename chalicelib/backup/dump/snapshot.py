"""Take a consistent snapshot of a schema on several connections."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pymysql import err
from pymysql.constants import ER

from chalicelib.backup.archive.manifest import Position, Server
from chalicelib.backup.connection import literal, prepare_session, query_bytes, query_text, quoted
from chalicelib.backup.dump.scope import Plan

# Tells a table from another one of the same name, because a rename or an exchanged partition swaps rows without an
# error: its creation time, and InnoDB's ids of it or its partitions, as far as the user may see them.
Identity = tuple[object, ...]

# InnoDB's list covers all tables of the server and is read as a whole. Reading it once per table is slow beyond this.
MAX_TABLES = 1000
# MariaDB's name and MySQL's.
_LISTS = (b"INNODB_SYS_TABLES", b"INNODB_TABLES")
# The list has file names, so tables with special characters in their names are not found.
_NUMBERS = (
    b"SELECT SUBSTRING_INDEX(REPLACE(CAST(NAME AS BINARY),'#P#','#p#'),'#p#',1),TABLE_ID FROM information_schema.%b"
    b" WHERE NAME LIKE CONCAT(DATABASE(),'/%%') ORDER BY TABLE_ID"
)


def read_identities(connection: Any, *, table: str | None = None, with_numbers: bool = True) -> dict[str, Identity]:
    """Return the identities of the schema's tables by name, or of one table.

    Raises pymysql.err.Error.
    """
    query = b"SELECT TABLE_NAME,CREATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE()"
    made = query_text(connection, query if table is None else query + b" AND TABLE_NAME=" + literal(table.encode()))
    numbers = _read_numbers(connection) if with_numbers else {}
    return {name: (moment, *numbers.get(name, ())) for name, moment in made}


def _read_numbers(connection: Any) -> dict[str, list[int]]:
    """Return InnoDB's ids by table; none if the user lacks PROCESS."""
    numbers: dict[str, list[int]] = defaultdict(list)
    is_mysql = b"MariaDB" not in query_bytes(connection, b"SELECT VERSION()")[0][0]
    try:
        found = query_text(connection, _NUMBERS % _LISTS[is_mysql])
    except err.OperationalError as error:
        if error.args[0] != ER.SPECIFIC_ACCESS_DENIED_ERROR:
            raise
        found = []
    for name, number in found:
        numbers[name.rpartition("/")[2]].append(number)
    return numbers


def read_definition(connection: Any, table: str) -> bytes:
    """Return a table's definition as the server writes it. Raises pymysql.err.Error."""
    definition: bytes = query_bytes(connection, b"SHOW CREATE TABLE " + quoted(table))[0][1]
    return definition


# Not READ ONLY: then the server refuses to show a view that calls NEXTVAL.
BEGIN = (b"START TRANSACTION WITH CONSISTENT SNAPSHOT", b"SAVEPOINT nothing_read")
LOCK_SECONDS = 2
# The user may not lock, the lock timed out, or a table was just dropped.
NO_LOCK = {ER.DBACCESS_DENIED_ERROR, ER.TABLEACCESS_DENIED_ERROR, ER.LOCK_WAIT_TIMEOUT, ER.NO_SUCH_TABLE}


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Connections on one snapshot of a schema, and the server's defaults, not the session's settings."""

    connections: tuple[Any, ...]
    schema: str
    server: Server
    # max_allowed_packet in bytes.
    packet: int
    position: Position | None
    # The tables just before the snapshot.
    identities: Mapping[str, Identity]


@contextmanager
def take_snapshot(connect: Callable[[], Any], *, plan: Plan, connections: int) -> Iterator[Snapshot]:
    """Take a snapshot of the schema that `connect` connects to, on at most so many connections.

    More than one connection needs a lock on the tables for less than a millisecond. If the lock is not granted within
    two seconds, use a single connection. Raises pymysql.err.Error.
    """
    with ExitStack() as stack:
        together = [_open(connect, stack) for _ in range(connections)]
        identities = read_identities(together[0])
        if connections == 1 or not _begin_under_lock(_open(connect, stack), together, plan):
            del together[1:]
            _begin(together[0])
        version, schema, packet = query_text(together[0], b"SELECT VERSION(),DATABASE(),@@max_allowed_packet")[0]
        sql_mode, time_zone = query_text(together[0], b"SELECT @@GLOBAL.sql_mode,@@GLOBAL.time_zone")[0]
        charset, collation = query_text(together[0], b"SELECT @@character_set_database,@@collation_database")[0]
        yield Snapshot(
            connections=tuple(together),
            schema=schema,
            server=Server(
                version=version, charset=charset, collation=collation, time_zone=time_zone, sql_mode=sql_mode
            ),
            packet=packet,
            position=_position(together[0]),
            identities=identities,
        )


def _open(connect: Callable[[], Any], stack: ExitStack) -> Any:
    connection = connect()
    stack.callback(connection.close)
    prepare_session(connection)
    return connection


def _begin_under_lock(locking: Any, together: list[Any], plan: Plan) -> bool:
    """Begin all transactions under a read lock; return False if the lock was not granted."""
    found = query_text(
        locking,
        b"SELECT TABLE_NAME FROM information_schema.TABLES"
        b" WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED')",
    )
    tables = [quoted(name) for (name,) in found if plan.takes(name) and plan.takes_rows(name)]
    # Writers wait for as long as this connection waits.
    locking.query(b"SET SESSION lock_wait_timeout=%d" % LOCK_SECONDS)
    try:
        if tables:
            locking.query(b"LOCK TABLES " + b" READ,".join(tables) + b" READ")
    except err.MySQLError as error:
        if error.args[0] in NO_LOCK:
            return False
        raise
    for connection in together:
        _begin(connection)
    locking.query(b"UNLOCK TABLES")
    return True


def _begin(connection: Any) -> None:
    for statement in BEGIN:
        connection.query(statement)


def release_locks(connection: Any) -> None:
    """Release the metadata locks of what was read, so that DDL and the queries behind it do not wait.

    The snapshot stays. Raises pymysql.err.Error.
    """
    connection.query(b"ROLLBACK TO SAVEPOINT nothing_read")


def _position(connection: Any) -> Position | None:
    """Return a snapshot's position in MariaDB's binary log."""
    found = dict(query_text(connection, b"SHOW STATUS LIKE 'binlog_snapshot_%'"))
    file, offset = found.get("Binlog_snapshot_file"), found.get("Binlog_snapshot_position")
    if not file or not offset:
        return None
    gtid = query_text(connection, b"SELECT BINLOG_GTID_POS('%b',%d)" % (file.encode(), int(offset)))[0][0]
    return Position(gtid=gtid or None, file=file, offset=int(offset))
