"""The tables and sequences of a schema, as the server defines them."""

import re
from collections import defaultdict
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from chalicelib.backup.connection import ask, quoted, tell
from chalicelib.backup.dump.snapshot import read_definition

_STRING = rb"'(?:[^'\\]|\\.|'')*+'"
_NAME = rb"`(?:[^`]|``)++`"


def unqualified(definition: bytes, schema: str) -> bytes:
    """Return a table's or a view's definition, as the server wrote it, without its schema's name.

    A name before a parenthesis is a function's, an argument of these three a sequence's, what follows FROM or JOIN a
    table's, and of three names the first is a schema's; elsewhere the same name may be a table's.
    """
    own = re.escape(quoted(schema)) + rb"\."
    of_function = own + rb"(?=" + _NAME + rb"\()"
    of_sequence = rb"(?P<call>\b(?:nextval|lastval|setval)\()" + own
    of_column = own + rb"(?=" + _NAME + rb"\.`)"
    of_table = rb"(?P<before>\b(?:from|(?:straight_)?join) \(*)" + own + rb"(?=" + _NAME + rb"(?!\.))"
    # What is kept comes last, whole, so that nothing is found within it.
    kept = rb"(?P<kept>" + _STRING + rb"|" + _NAME + rb")"
    pattern = b"|".join([of_function, of_sequence, of_column, of_table, kept])
    return re.sub(
        pattern, lambda found: found["kept"] or found["call"] or found["before"] or b"", definition, flags=re.DOTALL
    )


def unqualified_trigger(definition: bytes, schema: str, *, name: str, table: str) -> bytes:
    """Return a trigger's definition without its schema's name in its head, which is as its author wrote it."""
    own = rb"(?:" + _written(schema) + rb"\s*\.\s*)?"
    user = rb"(?:%b|\"(?:[^\"]|\"\")*+\")" % _NAME
    definer = rb"(?:DEFINER\s*=\s*%b@%b\s+)?" % (user, user)
    create = rb"\A(CREATE\s+(?:OR\s+REPLACE\s+)?" + definer + rb"TRIGGER\s+(?:IF\s+NOT\s+EXISTS\s+)?)"
    moment = rb"(" + _written(name) + rb"\s*(?:BEFORE|AFTER)\s+[\w\s,]+?\s+ON\s*)"
    head = create + own + moment + own + rb"(?=" + _written(table) + rb")"
    return re.sub(head, rb"\1\2", definition, flags=re.IGNORECASE)


def _written(name: str) -> bytes:
    plain, octets = re.escape(name.encode()), name.encode()
    return rb"(?:%b|\"%b\"|%b)" % (re.escape(quoted(name)), re.escape(octets.replace(b'"', b'""')), plain)


NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year"})
MOMENTS = frozenset({"date", "time", "datetime", "timestamp"})
# DECIMAL(65,30) with its sign and its point is the longest of these.
SHORT = 80
# In a row beyond this the values of long columns count one by one: together the others have no more than 64 KiB.
LONG_OCTETS = 1 << 14


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that is stored; `octets` is what the longest value of a text has, None where the type does not say."""

    name: str
    type: str
    is_nullable: bool
    octets: int | None

    @property
    def most_octets(self) -> int:
        """No value has more."""
        if self.octets is not None:
            return self.octets
        return SHORT if self.type in NUMBERS | MOMENTS | {"bit", "uuid", "inet4", "inet6"} else 1 << 32

    @property
    def is_long(self) -> bool:
        """Whether a single value may be long."""
        return self.most_octets > LONG_OCTETS

    @property
    def value(self) -> bytes:
        """The expression of a value's bytes; of MySQL's own JSON type those of its text, as MySQL reads it again.

        A DECIMAL in it is a DOUBLE once it is read from text: 1.10 is 1.1 in what is restored, and so in what is
        compared with that.
        """
        name = quoted(self.name)
        return b"CAST(CAST(CONVERT(" + name + b" USING utf8mb4) AS JSON) AS CHAR)" if self.type == "json" else name

    @property
    def opening(self) -> bytes:
        """What opens a value's text; MySQL's own JSON type refuses binary strings."""
        return b"_utf8mb4'" if self.type == "json" else b"'"

    @property
    def arguments(self) -> bytes:
        """What CONCAT takes to make a value's text, never NULL."""
        name = quoted(self.name)
        if self.type in NUMBERS:
            # As it is, six digits are all that the server tells of a FLOAT.
            number = name + b"+0e0" if self.type == "float" else name
            return b"IFNULL(" + number + b",'NULL')" if self.is_nullable else number
        if self.type in MOMENTS:
            return b"QUOTE(" + name + b")" if self.is_nullable else b"'\\''," + name + b",'\\''"
        # As binary: the bytes as they are stored, whatever the character set, and QUOTE is faster. A UUID or an address
        # has another text, which is not taken for one where no character set is told.
        text = b"QUOTE(CAST(" + self.value + b" AS BINARY))"
        if self.type == "json":
            return b"IF(" + name + b" IS NULL,'NULL',CONCAT('_utf8mb4'," + text + b"))"
        return text


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
class SequenceTable:
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


def read_sequences(connection: Any) -> list[SequenceTable]:
    """Return the sequences of the connection's schema, by name. Raises pymysql.err.Error."""
    found = tell(
        connection,
        b"SELECT TABLE_NAME FROM information_schema.TABLES"
        b" WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE='SEQUENCE' ORDER BY TABLE_NAME",
    )
    return [
        SequenceTable(
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
