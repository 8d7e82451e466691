"""Compare application.py with the database: a column that is mapped as a wrong type would silently match no rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Engine, Integer, LargeBinary, Numeric, String, inspect, select
from sqlalchemy.dialects.mysql import BIT
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.types import DateTime, TypeEngine, Uuid, _Binary

from chalicelib import application
from chalicelib.columns import END_SECOND, FIRST_SECOND, Millis, Moment, Seconds, UuidId
from chalicelib.core.errors import ConfigurationError

# The columns that tasks read, of users, posts and sessions.
USED = (
    {"id", "name", "email", "is_verified", "is_admin", "email_digest", "created_at"}
    | {"id", "title", "url", "author", "points", "comments", "views", "created_at"}
    | {"user_id", "created_at", "updated_at"}
)


def require_mapping(engine: Engine, *tables: Any) -> None:
    """Compare the columns of mapped tables with the database. Raises ConfigurationError with a sentence for each."""
    with engine.connect() as connection:
        if found := mismatches(connection, *tables):
            raise ConfigurationError("; ".join(found))


def mismatches(connection: Connection, *tables: Any) -> list[str]:
    """Return a sentence for each column of the mapped tables that the database stores otherwise, or does not have.

    Without tables, look at the types of all: a column that is missing matters only to the tasks that read it.
    """
    mapped = tables or (application.users, application.posts, application.sessions)
    columns = {column for table in mapped for name in USED & set(table.c.keys()) for column in _sources(table.c[name])}
    by_table: dict[Any, list[Column[Any]]] = {}
    for column in sorted(columns, key=str):
        by_table.setdefault(column.table, []).append(column)
    compared = (_compare(connection, table, each, may_lack=not tables) for table, each in by_table.items())
    return [sentence for sentences in compared for sentence in sentences]


def _sources(column: Any) -> list[Column[Any]]:
    """Return the column of a table that this one shows as it is, if it does."""
    return [each for each in column.base_columns if isinstance(each, Column)]


def _compare(connection: Connection, table: Any, columns: list[Column[Any]], *, may_lack: bool) -> Iterator[str]:
    try:
        real = {each["name"]: each["type"] for each in inspect(connection).get_columns(table.name, table.schema)}
    except NoSuchTableError:
        if not may_lack:
            yield f"the database has no table {table.name}, which chalicelib/application.py maps"
        return
    for column in columns:
        name = f"{table.name}.{column.name}"
        if column.name not in real:
            if not may_lack:
                yield f"the database has no column {name}, which chalicelib/application.py maps as {column.key}"
        elif reason := _mismatch(connection, column, real[column.name]):
            yield f"{name} {reason} in chalicelib/application.py"


def _mismatch(connection: Connection, column: Column[Any], real: TypeEngine[Any]) -> str:
    mapped, stored = column.type, type(real).__name__
    if isinstance(real, DateTime):
        return "" if isinstance(mapped, Moment) else f"is {stored}: map it as Moment(zone)"
    if isinstance(mapped, Moment):
        return f"is {stored}, not DATETIME or TIMESTAMP: map it as Millis or Seconds()"
    if isinstance(real, _Binary | LargeBinary):
        return "" if isinstance(mapped, UuidId) else f"is {stored}: map it as UuidId()"
    if isinstance(mapped, UuidId):
        return f"is {stored}, not BINARY(16): map it as Id or IntegerId()"
    if isinstance(real, String | Uuid):
        return "" if isinstance(mapped, String) else f"is {stored}: map it as Id or String"
    if isinstance(real, Integer | Numeric | BIT | Boolean):
        if isinstance(mapped, String):
            return f"is {stored}: map it as IntegerId()"
        if mapped is Millis or isinstance(mapped, Seconds):
            return _mismatch_of_epoch(connection, column, stored)
    return ""


def _mismatch_of_epoch(connection: Connection, column: Column[Any], stored: str) -> str:
    value = connection.execute(select(column).where(column > 0).limit(1)).scalar()
    in_seconds = stored in {"INTEGER", "MEDIUMINT"} and connection.dialect.name != "sqlite"
    if column.type is Millis and (in_seconds or (value is not None and FIRST_SECOND <= value < END_SECOND)):
        return "has epoch seconds: map it as Seconds()"
    if isinstance(column.type, Seconds) and value is not None and value >= END_SECOND * 1000:
        return "has epoch milliseconds: map it as Millis"
    return ""
