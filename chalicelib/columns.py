"""How an application stores ids and times. In Python an id is text and a time epoch milliseconds, whatever the column.

SQLAlchemy converts the parameters and the results of a statement, never the column: so every statement uses the same
indexes, and compares without loss.
"""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BINARY, BigInteger, DateTime, Dialect, String, Subquery, TypeDecorator, false, null, select
from sqlalchemy.dialects.mysql import CHAR, DATETIME

# An id as text, such as a UUID or a ULID of up to 36 characters.
Id = String(36).with_variant(CHAR(36), "mysql", "mariadb")
# A time as epoch milliseconds.
Millis = BigInteger()

EPOCH, MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
# Epoch seconds have 10 or 11 digits since September 2001.
FIRST_SECOND, END_SECOND = 10**9, 10**11


class IntegerId(TypeDecorator[str]):
    """An id in an INT or BIGINT column, with or without AUTO_INCREMENT."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Any, _dialect: Dialect) -> int | None:
        """Return the number that the text says. Raises ValueError for another text."""
        return None if value is None else int(value)

    def process_result_value(self, value: Any, _dialect: Dialect) -> str | None:
        """Return the number as text."""
        return None if value is None else str(value)


class UuidId(TypeDecorator[str]):
    """A UUID or a ULID in a BINARY(16) column, which Python sees as a UUID's 36 characters.

    `swapped` is for columns that are filled by `UUID_TO_BIN(…, 1)`.
    """

    impl = BINARY(16)
    cache_ok = True

    def __init__(self, *, swapped: bool = False) -> None:
        super().__init__()
        self.swapped = swapped

    def process_bind_param(self, value: Any, _dialect: Dialect) -> bytes | None:
        """Return the 16 bytes. Raises ValueError for a text that is no UUID."""
        if value is None:
            return None
        raw = uuid.UUID(value).bytes
        return raw[6:8] + raw[4:6] + raw[:4] + raw[8:] if self.swapped else raw

    def process_result_value(self, value: Any, _dialect: Dialect) -> str | None:
        """Return the UUID as text."""
        if value is None:
            return None
        raw = value[4:8] + value[2:4] + value[:2] + value[8:] if self.swapped else value
        return str(uuid.UUID(bytes=bytes(raw)))


class Seconds(TypeDecorator[int]):
    """A time as epoch seconds, in an INT or BIGINT column."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Any, _dialect: Dialect) -> int | None:
        """Return the seconds, rounded up: `>=` and `<` then find the same rows as with milliseconds."""
        return None if value is None else -(-int(value) // 1000)

    def process_result_value(self, value: Any, _dialect: Dialect) -> int | None:
        """Return the milliseconds."""
        return None if value is None else int(value) * 1000


class Moment(TypeDecorator[int]):
    """A time in a DATETIME or TIMESTAMP column.

    `zone` is the zone in which a DATETIME was written, such as "Europe/Berlin". TIMESTAMP needs none: every connection
    reads it in UTC. A zone that changes its clocks cannot tell the two halves of the repeated hour apart; a row of that
    hour counts for the hour's first pass.
    """

    impl = DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def __init__(self, zone: str = "UTC") -> None:
        super().__init__()
        self.zone = zone

    def process_bind_param(self, value: Any, _dialect: Dialect) -> datetime | None:
        """Return the wall clock's time in the zone."""
        if value is None:
            return None
        return (EPOCH + int(value) * MILLISECOND).astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)

    def process_result_value(self, value: Any, _dialect: Dialect) -> int | None:
        """Return the epoch milliseconds, rounded down. A zero date, which PyMySQL returns as text, is None."""
        if not isinstance(value, datetime):
            return None
        return (value.replace(tzinfo=ZoneInfo(self.zone)) - EPOCH) // MILLISECOND


ABSENT = "absent"


def absent(*columns: str) -> Subquery:
    """Return a table without rows, for what the application does not have: the tasks that need it say so."""
    return select(*(null().label(column) for column in columns)).where(false()).subquery(ABSENT)


def is_absent(table: Any) -> bool:
    """Return whether the application has no such table."""
    return isinstance(table, Subquery) and table.name == ABSENT
