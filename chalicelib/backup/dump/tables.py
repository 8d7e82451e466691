"""The tables and sequences of a schema, as the server defines them.

Definitions are stored without the name of their own schema, so that they load into any schema. The server adds it
before stored functions and sequences, and trigger authors may. MariaDB also adds it to all names of a view whose
definer is gone, or that selects from another schema.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from chalicelib.backup.connection import query_bytes, query_text, quoted
from chalicelib.backup.dump.snapshot import read_definition

_STRING = rb"'(?:[^'\\]|\\.|'')*+'"
_NAME = rb"`(?:[^`]|``)++`"


def strip_schema(definition: bytes, schema: str) -> bytes:
    """Return a table's or view's definition, as the server wrote it, without its schema's name.

    The schema's name is removed only before a function, a sequence, a table after FROM or JOIN, and as the first of
    three names. Elsewhere, the same name may be a table's.
    """
    own = re.escape(quoted(schema)) + rb"\."
    of_function = own + rb"(?=" + _NAME + rb"\()"
    of_sequence = rb"(?P<call>\b(?:nextval|lastval|setval)\()" + own
    of_column = own + rb"(?=" + _NAME + rb"\.`)"
    of_table = rb"(?P<before>\b(?:from|(?:straight_)?join) \(*)" + own + rb"(?=" + _NAME + rb"(?!\.))"
    # Strings and other names match as a whole and are kept.
    kept = rb"(?P<kept>" + _STRING + rb"|" + _NAME + rb")"
    pattern = b"|".join([of_function, of_sequence, of_column, of_table, kept])
    return re.sub(
        pattern, lambda found: found["kept"] or found["call"] or found["before"] or b"", definition, flags=re.DOTALL
    )


def strip_trigger_schema(definition: bytes, schema: str, *, name: str, table: str) -> bytes:
    """Return a trigger's definition without its schema's name in its head, which is as its author wrote it."""
    own = rb"(?:" + _written(schema) + rb"\s*\.\s*)?"
    user = rb"(?:%b|\"(?:[^\"]|\"\")*+\")" % _NAME
    definer = rb"(?:DEFINER\s*=\s*%b@%b\s+)?" % (user, user)
    create = rb"\A(CREATE\s+(?:OR\s+REPLACE\s+)?" + definer + rb"TRIGGER\s+(?:IF\s+NOT\s+EXISTS\s+)?)"
    moment = rb"(" + _written(name) + rb"\s*(?:BEFORE|AFTER)\s+[\w\s,]+?\s+ON\s*)"
    head = create + own + moment + own + rb"(?=" + _written(table) + rb")"
    return re.sub(head, rb"\1\2", definition, flags=re.IGNORECASE)


def _written(name: str) -> bytes:
    plain = re.escape(name.encode())
    return rb"(?:%b|\"%b\"|%b)" % (re.escape(quoted(name)), re.escape(name.encode().replace(b'"', b'""')), plain)


NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year"})
MOMENTS = frozenset({"date", "time", "datetime", "timestamp"})
# The longest of these is DECIMAL(65,30) with its sign and point.
SHORT = 80
# Longer columns are read value by value in long rows. All other columns together have at most 64 KiB.
LONG_BYTES = 1 << 14


@dataclass(frozen=True, kw_only=True)
class Column:
    """A stored column; `max_bytes` is the length of the longest text, None if the type does not limit it."""

    name: str
    type: str
    is_nullable: bool
    max_bytes: int | None

    @property
    def max_value_bytes(self) -> int:
        """The length of the longest possible value."""
        if self.max_bytes is not None:
            return self.max_bytes
        return SHORT if self.type in NUMBERS | MOMENTS | {"bit", "uuid", "inet4", "inet6"} else 1 << 32

    @property
    def is_long(self) -> bool:
        """Whether a value may be long."""
        return self.max_value_bytes > LONG_BYTES

    @property
    def value(self) -> bytes:
        """The SQL expression of a value's bytes; for MySQL's JSON type, of its text as MySQL parses it again.

        A DECIMAL in JSON becomes a DOUBLE when it is parsed: 1.10 is restored as 1.1, so it is compared as 1.1.
        """
        name = quoted(self.name)
        return b"CAST(CAST(CONVERT(" + name + b" USING utf8mb4) AS JSON) AS CHAR)" if self.type == "json" else name

    @property
    def opening(self) -> bytes:
        """The opening quote; MySQL's JSON type refuses binary strings."""
        return b"_utf8mb4'" if self.type == "json" else b"'"

    @property
    def arguments(self) -> bytes:
        """The arguments of CONCAT that produce a value's text, never NULL."""
        name = quoted(self.name)
        if self.type in NUMBERS:
            # A plain FLOAT is rounded to six digits.
            number = name + b"+0e0" if self.type == "float" else name
            return b"IFNULL(" + number + b",'NULL')" if self.is_nullable else number
        if self.type in MOMENTS:
            return b"QUOTE(" + name + b")" if self.is_nullable else b"'\\''," + name + b",'\\''"
        # CAST AS BINARY keeps the stored bytes in any character set, and QUOTE is faster. It also turns a UUID or an
        # address into text.
        text = b"QUOTE(CAST(" + self.value + b" AS BINARY))"
        if self.type == "json":
            return b"IF(" + name + b" IS NULL,'NULL',CONCAT('_utf8mb4'," + text + b"))"
        return text


# These engines show rows of other tables, or none.
WITHOUT_ROWS = frozenset({"MRG_MYISAM", "FEDERATED", "BLACKHOLE"})
TRANSACTIONAL = frozenset({"InnoDB", "ROCKSDB"})


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; `columns` are its stored columns, `data_bytes` is the server's estimate of its size.

    `key` has the columns of a unique key, or is empty.
    """

    name: str
    definition: bytes
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    engine: str
    data_bytes: int


@dataclass(frozen=True, kw_only=True)
class SequenceTable:
    """A sequence of MariaDB, and its next value."""

    name: str
    definition: bytes
    next: int


def read_tables(connection: Any, schema: str) -> list[Table]:
    """Return the tables of the schema, by name. Raises pymysql.err.Error."""
    columns, keys = _columns(connection), _keys(connection)
    found = query_text(
        connection,
        b"SELECT TABLE_NAME,IFNULL(ENGINE,''),IFNULL(DATA_LENGTH,0) FROM information_schema.TABLES"
        b" WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED') ORDER BY TABLE_NAME",
    )
    return [
        Table(
            name=name,
            definition=strip_schema(read_definition(connection, name), schema),
            columns=tuple(columns[name]),
            key=keys.get(name, ()),
            engine=engine,
            data_bytes=size,
        )
        for name, engine, size in found
    ]


def read_sequences(connection: Any) -> list[SequenceTable]:
    """Return the sequences of the schema, by name. Raises pymysql.err.Error."""
    found = query_text(
        connection,
        b"SELECT TABLE_NAME FROM information_schema.TABLES"
        b" WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE='SEQUENCE' ORDER BY TABLE_NAME",
    )
    return [
        SequenceTable(
            name=name,
            definition=query_bytes(connection, b"SHOW CREATE SEQUENCE " + quoted(name))[0][1],
            next=query_bytes(connection, b"SELECT next_not_cached_value FROM " + quoted(name))[0][0],
        )
        for (name,) in found
    ]


def _columns(connection: Any) -> dict[str, list[Column]]:
    found = query_text(
        connection,
        b"SELECT TABLE_NAME,COLUMN_NAME,DATA_TYPE,IS_NULLABLE,CHARACTER_OCTET_LENGTH FROM information_schema.COLUMNS"
        # Not DEFAULT_GENERATED, which MySQL shows for a default that is an expression.
        b" WHERE TABLE_SCHEMA=DATABASE()"
        # MySQL refuses REGEXP with SET NAMES binary.
        b" AND EXTRA NOT LIKE '%STORED GENERATED%' AND EXTRA NOT LIKE '%VIRTUAL GENERATED%'"
        b" ORDER BY TABLE_NAME,ORDINAL_POSITION",
    )
    columns = defaultdict(list)
    for table, name, kind, nullable, size in found:
        columns[table].append(Column(name=name, type=kind, is_nullable=nullable == "YES", max_bytes=size))
    return columns


def _keys(connection: Any) -> dict[str, tuple[str, ...]]:
    """Return the primary key of each table, or its first unique key without NULLs, prefixes and expressions."""
    found = query_text(
        connection,
        b"SELECT TABLE_NAME,INDEX_NAME,COLUMN_NAME,"
        # No expression, no nullable column, no prefix, no hash.
        b"COLUMN_NAME IS NOT NULL AND NULLABLE<>'YES' AND SUB_PART IS NULL AND INDEX_TYPE='BTREE'"
        b" FROM information_schema.STATISTICS WHERE TABLE_SCHEMA=DATABASE() AND NON_UNIQUE=0"
        b" ORDER BY TABLE_NAME,INDEX_NAME<>'PRIMARY',INDEX_NAME,SEQ_IN_INDEX",
    )
    # Includes generated columns: this list is only for checking which columns can be named.
    named = query_text(
        connection, b"SELECT TABLE_NAME,COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE()"
    )
    names = set(named)
    keys: dict[str, tuple[str, ...]] = {}
    for (table, _), group in groupby(found, lambda part: part[:2]):
        parts = list(group)
        if table not in keys and all(is_fit for *_, is_fit in parts):
            # The keys of a versioned table include the end of a row's validity, which may have no name.
            keys[table] = tuple(column for _, _, column, _ in parts if (table, column) in names)
    return keys
