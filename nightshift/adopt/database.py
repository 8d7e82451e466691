"""The tables of an application's database as they are: columns, keys, indexes, sizes, and samples of their values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event, inspect
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import DBAPIError, UnreflectableTableError
from sqlalchemy.types import JSON, Boolean, DateTime, Integer, LargeBinary, Numeric, String, Uuid, _Binary

from chalicelib.core.errors import ConfigurationError

Kind = Literal["integer", "text", "bytes", "moment", "flag", "json", "other"]
SAMPLE = 200
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
IRREGULAR = {"people": "person", "news": "news", "status": "status", "address": "address", "series": "series"}


def words(name: str) -> list[str]:
    """Return the words of a name in small letters: createdAt and created_at have the same."""
    return [word.lower() for word in _WORD.findall(name)] or [name.lower()]


def singular(word: str) -> str:
    """Return the singular of an English plural."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column; `choices` are the values of an ENUM."""

    name: str
    type: Any
    is_nullable: bool

    @property
    def kind(self) -> Kind:
        """What its values are, of what a mapping distinguishes."""
        # MariaDB's JSON is LONGTEXT.
        kinds: tuple[tuple[Any, Kind], ...] = (
            (JSON, "json"),
            (DateTime, "moment"),
            (_Binary | LargeBinary, "bytes"),
            (String | Uuid, "text"),
            (Boolean | mysql.BIT, "flag"),
        )
        if isinstance(self.type, mysql.TINYINT):
            return "flag"
        if isinstance(self.type, Integer) or (isinstance(self.type, Numeric) and self.type.scale == 0):
            return "integer"
        return next((kind for types, kind in kinds if isinstance(self.type, types)), "other")

    @property
    def stored(self) -> str:
        """The type, as people write it."""
        length = getattr(self.type, "length", None)
        name = type(self.type).__name__.replace("INTEGER", "INT")
        return f"{name}({length})" if length and not isinstance(self.type, mysql.ENUM) else name

    @property
    def choices(self) -> tuple[str, ...]:
        """The values of an ENUM."""
        return tuple(getattr(self.type, "enums", ()))


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table or a view. `references` is by column: the table that it refers to. Sizes are the server's estimates."""

    name: str
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    references: Mapping[str, str]
    indexes: tuple[tuple[str, ...], ...]
    unique: tuple[tuple[str, ...], ...]
    is_view: bool = False
    rows: int = 0
    data_bytes: int = 0
    engine: str = ""

    @cached_property
    def words(self) -> list[str]:
        """The words of its name, the last one in the singular."""
        *first, last = words(self.name)
        return [*first, singular(last)]

    @property
    def id(self) -> str:
        """The column that names a row. Raises ConfigurationError if several do."""
        if len(self.key) == 1:
            return self.key[0]
        if found := self.named("id", self.noun, "uuid"):
            return found[0]
        raise ConfigurationError(f"{self.name} has no key of one column, which Nightshift needs for users and posts")

    @property
    def noun(self) -> str:
        """What one row is: user in wp_users."""
        return self.words[-1]

    def normal(self, column: str) -> str:
        """Return a column's name as it is compared: without the table's noun, in snake case."""
        found = words(column)
        if len(found) > 1 and found[0] == self.noun:
            found = found[1:]
        return "_".join(found)

    def named(self, *names: str, kinds: tuple[Kind, ...] = ()) -> list[str]:
        """Return the columns with these names, in the order of the names."""
        by_name = {self.normal(name): name for name in reversed(list(self.columns))}
        found = [by_name[name] for name in names if name in by_name]
        return [name for name in found if not kinds or self.columns[name].kind in kinds]

    def is_unique(self, *columns: str) -> bool:
        """Return whether no two rows have the same values there."""
        return any(set(each) <= set(columns) for each in (*self.unique, self.key) if each)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A database. Samples are read once; nothing is written."""

    connection: Connection
    name: str
    is_mariadb: bool
    tables: Mapping[str, Table]
    zone: str = "UTC"
    unreadable: tuple[str, ...] = ()
    _samples: dict[tuple[str, str], list[Any]] = field(default_factory=dict)

    def sample(self, table: Table, column: str) -> list[Any]:
        """Return values of the newest rows, as the driver returns them, without NULL."""
        found = self._samples.get((table.name, column))
        if found is None:
            query: sa.Select[Any] = sa.select(sa.column(column)).select_from(sa.table(table.name)).limit(SAMPLE)
            query = query.order_by(*(sa.column(each).desc() for each in table.key))
            found = [value for value in self.connection.execute(query).scalars() if value is not None]
            self._samples[table.name, column] = found
        return found

    def values(self, table: Table, column: str) -> set[str]:
        """Return the values of a status: an ENUM's, or those of the newest rows."""
        return set(table.columns[column].choices) or {str(value) for value in self.sample(table, column)}


def read_only(engine: Engine) -> None:
    """Have the server refuse each statement that would write. Raises ConfigurationError for SQLite, which cannot."""
    if engine.dialect.name == "sqlite":
        raise ConfigurationError("adopt reads MySQL and MariaDB, and DATABASE_URL names an SQLite file")
    event.listen(engine, "checkout", _refuse_writes)


def _refuse_writes(connection: Any, _record: Any, _proxy: Any) -> None:
    connection.query("SET SESSION TRANSACTION READ ONLY")


def read_database(connection: Connection) -> Source:
    """Return the tables of the connection's schema. Raises ConfigurationError if there is none to read."""
    name = connection.exec_driver_sql("SELECT DATABASE()").scalar_one()
    if not name:
        raise ConfigurationError("DATABASE_URL names no database: mysql+pymysql://user:password@host/database")
    is_mariadb = bool(getattr(connection.dialect, "is_mariadb", False))
    zone, system = connection.exec_driver_sql("SELECT @@global.time_zone, @@system_time_zone").one()
    if not is_mariadb:
        # Otherwise the sizes may be a day old.
        connection.exec_driver_sql("SET SESSION information_schema_stats_expiry = 0")
    # The names differ between servers in upper and lower case, the positions do not.
    sizes = {
        table: (rows or 0, data or 0, engine or "")
        for table, rows, data, engine in connection.exec_driver_sql(
            "SELECT TABLE_NAME, TABLE_ROWS, DATA_LENGTH, ENGINE FROM information_schema.TABLES "
            "WHERE TABLE_SCHEMA = DATABASE()"
        )
    }
    inspector = inspect(connection)
    views = set(inspector.get_view_names())
    tables, unreadable = {}, []
    for each in sorted(sizes):
        try:
            tables[each] = _read_table(inspector, each, sizes, is_view=each in views)
            connection.execute(sa.select(sa.literal(1)).select_from(sa.table(each)).limit(0))
        except (DBAPIError, UnreflectableTableError):
            # A view of what is gone, or a table on which the user has other rights than SELECT.
            tables.pop(each, None)
            unreadable.append(each)
    if not tables:
        raise ConfigurationError(
            f"the database {name} has no tables that this user may read: name another database in DATABASE_URL, "
            f"or grant SELECT on it. `nightshift migrate` makes an empty one ready without adopt"
        )
    return Source(
        connection=connection,
        name=name,
        is_mariadb=is_mariadb,
        tables=tables,
        zone=system if zone == "SYSTEM" else zone,
        unreadable=tuple(unreadable),
    )


def _read_table(inspector: Any, name: str, sizes: Mapping[str, Any], *, is_view: bool) -> Table:
    columns = [
        Column(name=each["name"], type=each["type"], is_nullable=each["nullable"])
        for each in inspector.get_columns(name)
    ]
    indexes = [] if is_view else inspector.get_indexes(name)
    rows, data_bytes, engine = sizes[name]
    return Table(
        name=name,
        columns={column.name: column for column in columns},
        key=() if is_view else tuple(inspector.get_pk_constraint(name)["constrained_columns"]),
        references={
            each["constrained_columns"][0]: each["referred_table"]
            for each in ([] if is_view else inspector.get_foreign_keys(name))
            if len(each["constrained_columns"]) == 1
        },
        # A part of an index on an expression has no name.
        indexes=tuple(tuple(each["column_names"]) for each in indexes if None not in each["column_names"]),
        unique=tuple(tuple(each["column_names"]) for each in indexes if each["unique"]),
        is_view=is_view,
        rows=rows,
        data_bytes=data_bytes,
        engine=engine,
    )
