"""The tables and sequences of a schema, as the server defines them."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from chalicelib.backup.columns import Column
from chalicelib.backup.identity import read_definition
from chalicelib.backup.quoting import quoted
from chalicelib.backup.session import ask, tell
from chalicelib.backup.unqualified import unqualified

# Their rows are those of other tables.
WITHOUT_ROWS = frozenset({"MRG_MYISAM", "FEDERATED", "BLACKHOLE"})
TRANSACTIONAL = frozenset({"InnoDB", "ROCKSDB"})


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; `columns` are those that are stored, `octets` is the server's estimate of how much it holds.

    No two rows are equal in the columns of `key`, which is empty where the table has no such key.
    """

    name: str
    definition: bytes
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    engine: str
    octets: int


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """A sequence of MariaDB, and the next value that it gives."""

    name: str
    definition: bytes
    next: int


def read_tables(connection: Any, schema: str) -> list[Table]:
    """Return the tables of the connection's schema, by name. Raises pymysql.err.Error."""
    columns, keys = _columns(connection), _keys(connection)
    found = tell(
        connection,
        b"SELECT TABLE_NAME,IFNULL(ENGINE,''),IFNULL(DATA_LENGTH,0) FROM information_schema.TABLES"
        b" WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED') ORDER BY TABLE_NAME",
    )
    return [
        Table(
            name=name,
            definition=unqualified(read_definition(connection, name), schema),
            columns=tuple(columns[name]),
            key=keys.get(name, ()),
            engine=engine,
            octets=octets,
        )
        for name, engine, octets in found
    ]


def read_sequences(connection: Any) -> list[Sequence]:
    """Return the sequences of the connection's schema, by name. Raises pymysql.err.Error."""
    found = tell(
        connection,
        b"SELECT TABLE_NAME FROM information_schema.TABLES"
        b" WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE='SEQUENCE' ORDER BY TABLE_NAME",
    )
    return [
        Sequence(
            name=name,
            definition=ask(connection, b"SHOW CREATE SEQUENCE " + quoted(name))[0][1],
            next=ask(connection, b"SELECT next_not_cached_value FROM " + quoted(name))[0][0],
        )
        for (name,) in found
    ]


def _columns(connection: Any) -> dict[str, list[Column]]:
    found = tell(
        connection,
        b"SELECT TABLE_NAME,COLUMN_NAME,DATA_TYPE,IS_NULLABLE,CHARACTER_OCTET_LENGTH FROM information_schema.COLUMNS"
        # Not DEFAULT_GENERATED, which MySQL says of a default that is an expression.
        b" WHERE TABLE_SCHEMA=DATABASE()"
        # LIKE: MySQL refuses REGEXP where names are binary.
        b" AND EXTRA NOT LIKE '%STORED GENERATED%' AND EXTRA NOT LIKE '%VIRTUAL GENERATED%'"
        b" ORDER BY TABLE_NAME,ORDINAL_POSITION",
    )
    columns = defaultdict(list)
    for table, name, kind, nullable, octets in found:
        columns[table].append(Column(name=name, type=kind, is_nullable=nullable == "YES", octets=octets))
    return columns


def _keys(connection: Any) -> dict[str, tuple[str, ...]]:
    """Return the first key of each table that tells all its rows apart: the primary one where there is one."""
    found = tell(
        connection,
        b"SELECT TABLE_NAME,INDEX_NAME,COLUMN_NAME,"
        # No expression, nothing that may be NULL more than once, no beginning of a value, no hash.
        b"COLUMN_NAME IS NOT NULL AND NULLABLE<>'YES' AND SUB_PART IS NULL AND INDEX_TYPE='BTREE'"
        b" FROM information_schema.STATISTICS WHERE TABLE_SCHEMA=DATABASE() AND NON_UNIQUE=0"
        b" ORDER BY TABLE_NAME,INDEX_NAME<>'PRIMARY',INDEX_NAME,SEQ_IN_INDEX",
    )
    # Also those that the server generates: this looks for columns that can be named.
    named = tell(
        connection, b"SELECT TABLE_NAME,COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE()"
    )
    names = set(named)
    keys: dict[str, tuple[str, ...]] = {}
    for (table, _), group in groupby(found, lambda part: part[:2]):
        parts = list(group)
        if table not in keys and all(is_fit for *_, is_fit in parts):
            # The end of a row's validity, which is part of a versioned table's keys, may be no column to be named.
            keys[table] = tuple(column for _, _, column, _ in parts if (table, column) in names)
    return keys
