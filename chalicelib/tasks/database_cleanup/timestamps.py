"""Compare a row's age with the cutoff: epoch numbers, DATETIME, TIMESTAMP or ISO 8601 text, by the column's real type.

MySQL compares where it can; text, and every value in SQLite, is parsed row by row. Times without a zone are UTC.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    DateTime,
    Integer,
    Numeric,
    and_,
    false,
    func,
    inspect,
    or_,
    type_coerce,
)
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.types import TIMESTAMP, NullType

from chalicelib.columns import END_SECOND, FIRST_SECOND, Moment
from chalicelib.core.clock import from_ms, to_ms
from chalicelib.core.errors import ConfigurationError

# Since September 2001 milliseconds have 13 to 15 digits. Numbers smaller than FIRST_SECOND are not timestamps: zero, or
# a date such as 20160804.
FIRST_MS, END_MS = 10**12, 253_402_300_800_000
# Some languages and databases write an earlier date for "none".
EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)

_EPOCH = re.compile(r"\d{10}|\d{13}", re.ASCII)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cutoff:
    """Rows whose timestamp lies before the cutoff are due.

    `due` and `invalid` are conditions on rows. Where SQL cannot compare the column, `in_sql` is false, `due` holds for
    every row with a value, and `is_due` decides by that `value`.
    """

    value: ColumnElement[Any]
    before_ms: int
    due: ColumnElement[bool]
    invalid: ColumnElement[bool]
    in_sql: bool

    def is_due(self, value: object) -> bool:
        """Return whether a row that meets `due` is due, by its value. Raises ValueError for an invalid timestamp."""
        return self.in_sql or read_ms(value) < self.before_ms


def cutoff_for(connection: Connection, column: Column[Any], *, before_ms: int) -> Cutoff:
    """Return the cutoff for a column's real type. Raises ConfigurationError where the database lacks the column."""
    table = column.table
    try:
        found = {each["name"]: each["type"] for each in inspect(connection).get_columns(table.name, table.schema)}
        kind = found[column.name]
    except (NoSuchTableError, KeyError):
        raise ConfigurationError(f"the database has no column {table.name}.{column.name}") from None
    # Untyped, since the mapping's type may not be the real one.
    value: ColumnElement[Any] = type_coerce(column, NullType())
    conditions = None if connection.dialect.name == "sqlite" else _compare(column, kind, before_ms=before_ms)
    due, invalid = conditions or (value.is_not(None), false())
    return Cutoff(value=value, before_ms=before_ms, due=due, invalid=invalid, in_sql=conditions is not None)


def read_ms(value: object) -> int:
    """Return a timestamp as epoch milliseconds, a date as the end of its day. Raises ValueError for other values."""
    if isinstance(value, str):
        text = value.strip().upper()
        if _EPOCH.fullmatch(text):
            return read_ms(int(text))
        try:
            return read_ms(date.fromisoformat(text))
        except ValueError:
            return read_ms(datetime.fromisoformat(text))
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime.combine(value, time.max)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if moment < EARLIEST:
            raise ValueError("it means none")
        return to_ms(moment)
    if isinstance(value, (int, float, Decimal)):
        if FIRST_SECOND <= value < END_SECOND:
            return int(value * 1000)
        if FIRST_MS <= value < END_MS:
            return int(value)
    raise ValueError("it is not a timestamp")


def _compare(
    column: Column[Any], kind: object, *, before_ms: int
) -> tuple[ColumnElement[bool], ColumnElement[bool]] | None:
    """Return the conditions `due` and `invalid`, which can use an index, or None for a type that SQL cannot compare."""
    if isinstance(kind, (Integer, Numeric)):
        number: ColumnElement[int] = type_coerce(column, BigInteger())
        before_seconds = -(-before_ms // 1000)
        due = or_(and_(number >= FIRST_MS, number < before_ms), and_(number >= FIRST_SECOND, number < before_seconds))
        return due, or_(number < FIRST_SECOND, and_(number >= END_SECOND, number < FIRST_MS), number >= END_MS)
    if isinstance(kind, TIMESTAMP):
        # Both sides of the comparison are in the session's zone.
        stamp: ColumnElement[Any] = type_coerce(column, NullType())
        earliest, before = func.from_unixtime(EARLIEST.timestamp()), func.from_unixtime(before_ms / 1000)
        return and_(stamp >= earliest, stamp < before), stamp < earliest
    if isinstance(kind, DateTime):
        moment: ColumnElement[datetime] = type_coerce(column, DateTime())
        zone = ZoneInfo(column.type.zone if isinstance(column.type, Moment) else "UTC")
        first, end = (each.astimezone(zone).replace(tzinfo=None) for each in (EARLIEST, from_ms(before_ms)))
        return and_(moment >= first, moment < end), moment < first
    return None
