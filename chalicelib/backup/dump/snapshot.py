"""Several connections that read one and the same moment of a schema."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from pymysql import err
from pymysql.constants import ER

from chalicelib.backup.connection import ask, literal, prepare, quoted, tell
from chalicelib.backup.dump.scope import Plan

# When it was made, and the numbers that InnoDB gives to it or to its partitions, as far as they are shown.
Identity = tuple[object, ...]

# InnoDB's list is of all tables of the server and is read as a whole: for more tables than this, once for each is slow.
MOST_TABLES = 1000
# MariaDB's name and MySQL's.
_LISTS = (b"INNODB_SYS_TABLES", b"INNODB_TABLES")
# The names in it are those of files. A name of other than plain characters looks different there, and is not found.
_NUMBERS = (
    b"SELECT SUBSTRING_INDEX(REPLACE(CAST(NAME AS BINARY),'#P#','#p#'),'#p#',1),TABLE_ID FROM information_schema.%b"
    b" WHERE NAME LIKE CONCAT(DATABASE(),'/%%') ORDER BY TABLE_ID"
)


def read_identities(connection: Any, *, table: str | None = None, with_numbers: bool = True) -> dict[str, Identity]:
    """Return the identities of the tables of the connection's schema by name, or of one table.

    Raises pymysql.err.Error.
    """
    query = b"SELECT TABLE_NAME,CREATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE()"
    made = tell(connection, query if table is None else query + b" AND TABLE_NAME=" + literal(table.encode()))
    numbers = _read_numbers(connection) if with_numbers else {}
    return {name: (moment, *numbers.get(name, ())) for name, moment in made}


def _read_numbers(connection: Any) -> dict[str, list[int]]:
    """Return InnoDB's numbers by table; of none where the user lacks PROCESS."""
    numbers: dict[str, list[int]] = defaultdict(list)
    is_mysql = b"MariaDB" not in ask(connection, b"SELECT VERSION()")[0][0]
    try:
        found = tell(connection, _NUMBERS % _LISTS[is_mysql])
    except err.OperationalError as error:
        if error.args[0] != ER.SPECIFIC_ACCESS_DENIED_ERROR:
            raise
        found = []
    for name, number in found:
        numbers[name.rpartition("/")[2]].append(number)
    return numbers


def read_definition(connection: Any, table: str) -> bytes:
    """Return a table's definition as the server writes it. Raises pymysql.err.Error."""
    definition: bytes = ask(connection, b"SHOW CREATE TABLE " + quoted(table))[0][1]
    return definition


# Not READ ONLY, where the server refuses to show a view that takes a sequence's next value.
BEGIN = (b"START TRANSACTION WITH CONSISTENT SNAPSHOT", b"SAVEPOINT nothing_read")
LOCK_SECONDS = 2
# No right to lock, nobody who lets us, a table that went just now.
NO_LOCK = {ER.DBACCESS_DENIED_ERROR, ER.TABLEACCESS_DENIED_ERROR, ER.LOCK_WAIT_TIMEOUT, ER.NO_SUCH_TABLE}


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where the server's log stood at the moment of the snapshot, as far as the server tells."""

    gtid: str | None = None
    file: str | None = None
    offset: int | None = None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Connections on one snapshot of a schema, and what the server says of itself."""

    connections: tuple[Any, ...]
    schema: str
    charset: str
    collation: str
    version: str
    # As the server has them for whoever connects, not this session.
    sql_mode: str
    time_zone: str
    # The longest packet in bytes.
    packet: int
    position: Position | None
    # The tables as they were just before the snapshot.
    identities: Mapping[str, Identity]


@contextmanager
def take(connect: Callable[[], Any], *, plan: Plan, connections: int) -> Iterator[Snapshot]:
    """Take a snapshot of the schema that `connect` connects to, and give it on at most so many connections.

    More than one need a lock of the tables, for less than a millisecond; where it is not to be had within two seconds,
    one must do. Raises pymysql.err.Error.
    """
    with ExitStack() as stack:
        together = [_open(connect, stack) for _ in range(connections)]
        identities = read_identities(together[0])
        if connections == 1 or not _begin_together(_open(connect, stack), together, plan):
            del together[1:]
            _begin(together[0])
        version, schema, packet = tell(together[0], b"SELECT VERSION(),DATABASE(),@@max_allowed_packet")[0]
        sql_mode, time_zone = tell(together[0], b"SELECT @@GLOBAL.sql_mode,@@GLOBAL.time_zone")[0]
        charset, collation = tell(together[0], b"SELECT @@character_set_database,@@collation_database")[0]
        yield Snapshot(
            connections=tuple(together),
            schema=schema,
            charset=charset,
            collation=collation,
            version=version,
            sql_mode=sql_mode,
            time_zone=time_zone,
            packet=packet,
            position=_position(together[0]),
            identities=identities,
        )


def _open(connect: Callable[[], Any], stack: ExitStack) -> Any:
    connection = connect()
    stack.callback(connection.close)
    prepare(connection)
    return connection


def _begin_together(locking: Any, together: list[Any], plan: Plan) -> bool:
    """Begin all transactions while nobody writes; return whether that could be."""
    found = tell(
        locking,
        b"SELECT TABLE_NAME FROM information_schema.TABLES"
        b" WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED')",
    )
    tables = [quoted(name) for (name,) in found if plan.takes(name) and plan.takes_rows(name)]
    # Whoever wants to write waits as long as we do.
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


def let_go(connection: Any) -> None:
    """Let others change the definitions of what was read, for which they would wait, and all who want it behind them.

    The snapshot stays. Raises pymysql.err.Error.
    """
    connection.query(b"ROLLBACK TO SAVEPOINT nothing_read")


def _position(connection: Any) -> Position | None:
    """Return what MariaDB says of a snapshot's place in its log."""
    found = dict(tell(connection, b"SHOW STATUS LIKE 'binlog_snapshot_%'"))
    file, offset = found.get("Binlog_snapshot_file"), found.get("Binlog_snapshot_position")
    if not file or not offset:
        return None
    gtid = tell(connection, b"SELECT BINLOG_GTID_POS('%b',%d)" % (file.encode(), int(offset)))[0][0]
    return Position(gtid=gtid or None, file=file, offset=int(offset))
