"""A stretch: so many rows of a table in the order of its primary key, however few of them are to go."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, or_, select, true

Key = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """The rows behind the key `after` up to the key `last`; None is the beginning, and the end, of the table."""

    after: Key | None
    last: Key | None


def next_stretch(connection: Connection, table: Table, after: Key | None, *, rows: int) -> Stretch:
    """Return the stretch of so many rows that begins behind a key, found without locking any."""
    key = tuple(table.primary_key)
    query = select(*key).where(_behind(key, after) if after else true()).order_by(*key).offset(rows - 1).limit(1)
    last = connection.execute(by_primary_key(query, table)).one_or_none()
    return Stretch(after=after, last=None if last is None else tuple(last))


def within(table: Table, stretch: Stretch) -> ColumnElement[bool]:
    """Return the condition of the rows of a stretch."""
    key = tuple(table.primary_key)
    return and_(
        _behind(key, stretch.after) if stretch.after else true(),
        _up_to(key, stretch.last) if stretch.last else true(),
    )


def among(table: Table, keys: Collection[Key]) -> ColumnElement[bool]:
    """Return the condition of the rows with these keys."""
    return _among(tuple(table.primary_key), keys)


def by_primary_key(query: Select[Any], table: Table) -> Select[Any]:
    """Return the query with the way that it takes: other indexes give the rows in another order, to be sorted."""
    return query.with_hint(table, "FORCE INDEX (PRIMARY)", "mysql")


def _among(columns: Sequence[ColumnElement[Any]], keys: Collection[Key]) -> ColumnElement[bool]:
    first, *rest = columns
    if not rest:
        return first.in_([key[0] for key in keys])
    groups: dict[Any, list[Key]] = {}
    for key in keys:
        groups.setdefault(key[0], []).append(key[1:])
    # Not (a, b) IN (…), which MariaDB looks for in the whole table.
    return or_(*(and_(first == value, _among(rest, below)) for value, below in groups.items()))


def _behind(columns: Sequence[ColumnElement[Any]], key: Key) -> ColumnElement[bool]:
    first, *rest = columns
    # Not (a, b) > (x, y), for which MySQL and MariaDB read the whole index.
    return or_(first > key[0], and_(first == key[0], _behind(rest, key[1:]))) if rest else first > key[0]


def _up_to(columns: Sequence[ColumnElement[Any]], key: Key) -> ColumnElement[bool]:
    first, *rest = columns
    return or_(first < key[0], and_(first == key[0], _up_to(rest, key[1:]))) if rest else first <= key[0]
