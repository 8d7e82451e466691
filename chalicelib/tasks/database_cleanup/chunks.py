"""A stretch: so many rows of a table in the order of its primary key, however few of them are to go."""

import base64
import gzip
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import count
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, literal_column, or_, select, true

from chalicelib.core.errors import PermanentError, TransientError
from chalicelib.core.store import Store
from chalicelib.tasks.database_cleanup.rules import Rule
from chalicelib.tasks.database_cleanup.timestamps import Lens

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


# A row as the database has it, all columns by their own names, and its table's name.
Line = tuple[str, Mapping[str, Any]]


class Archive:
    """The objects that one attempt writes below a prefix; no object is ever written twice."""

    def __init__(self, store: Store, *, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._numbers = count(1)

    def put(self, lines: Iterable[Line]) -> None:
        """Store rows. Raises TransientError."""
        text = "".join(f"{_write(table, row)}\n" for table, row in lines)
        key = f"{self._prefix}-{next(self._numbers):06}.jsonl.gz"
        self._store.put(key, gzip.compress(text.encode(), mtime=0), content_type="application/gzip")


def _write(table: str, row: Mapping[str, Any]) -> str:
    return json.dumps({"table": table, "row": dict(row)}, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


# MariaDB makes a table of a longer list, and then may read all of the other one.
MOST = 900

# By key: a row, and behind it the rows that hang on it.
Bundles = Mapping[Key, list[Line]]


@dataclass(frozen=True, kw_only=True)
class Found:
    """The rows that are due in a stretch, by key, each with the values that its dependents hold."""

    stretch: Stretch
    rows: Mapping[Key, tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What was due in a stretch when it was packed."""

    stretch: Stretch
    bundles: Bundles


def find(connection: Connection, rule: Rule, lens: Lens, stretch: Stretch, *, allowed: int | None, lock: bool) -> Found:
    """Return what is due in a stretch, or in as much of it as one statement should name.

    With `lock`, rows that somebody else has locked are left out. Raises PermanentError for more rows than `allowed`.
    """
    query = select(*rule.key, lens.value, *rule.dependents.values())
    query = query.where(within(rule.table, stretch), rule.where, lens.due).order_by(*rule.key).limit(MOST)
    # Whoever holds a row is at work on it, and shall not be waited for while we hold others.
    query = query.with_for_update(skip_locked=True) if lock else query
    rows = connection.execute(by_primary_key(query, rule.table)).all()
    width = len(rule.key)
    due = {tuple(row[:width]): tuple(row[width + 1 :]) for row in rows if _is_due(lens, row[width])}
    if allowed is not None and len(due) > allowed:
        raise PermanentError(f"more rows are due now than when they were counted; {allowed} more would be allowed")
    last = tuple(rows[-1][:width]) if len(rows) == MOST else stretch.last
    return Found(stretch=replace(stretch, last=last), rows=due)


def pack(
    connection: Connection, rule: Rule, lens: Lens, after: Key | None, *, rows: int, allowed: int | None
) -> Parcel:
    """Return what is due among so many rows behind a key, read without locking any. Raises as `find`."""
    stretch = next_stretch(connection, rule.table, after, rows=rows)
    found = find(connection, rule, lens, stretch, allowed=allowed, lock=False)
    return Parcel(stretch=found.stretch, bundles=gather(connection, rule, found.rows))


def gather(connection: Connection, rule: Rule, keys: Collection[Key]) -> Bundles:
    """Return the rows with these keys and what hangs on each, as they are now."""
    gathered: dict[Key, list[Line]] = {key: [] for key in keys}
    if keys:
        ours = among(rule.table, keys)
        _append(connection, _whole(connection, rule, rule.table).where(ours), rule.table, gathered)
        for theirs, held in rule.dependents.items():
            query = _whole(connection, rule, theirs.table).select_from(rule.table.join(theirs.table, theirs == held))
            _append(connection, query.where(ours), theirs.table, gathered)
    # The database would sort whole rows on its disk.
    return {key: lines[:1] + sorted(lines[1:], key=str) for key, lines in gathered.items()}


def _is_due(lens: Lens, value: object) -> bool:
    try:
        return lens.is_due(value)
    except ValueError:
        return False


def _whole(connection: Connection, rule: Rule, table: Table) -> Select[Any]:
    # Columns that the mapping does not know are archived as well.
    name = connection.dialect.identifier_preparer.format_table(table)
    return by_primary_key(select(*rule.key, literal_column(f"{name}.*")), rule.table)


def _append(connection: Connection, query: Select[Any], table: Table, gathered: Mapping[Key, list[Line]]) -> None:
    result = connection.execute(query)
    width = len(next(iter(gathered)))
    names = list(result.keys())[width:]
    for row in result:
        gathered[tuple(row[:width])].append((table.name, dict(zip(names, row[width:], strict=True))))


class ChangedError(TransientError):
    """What was to go changed under our hands, and nothing of it went."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What became of a chunk: `deleted` rows went; those up to the key `last` are done with, None being all."""

    deleted: int
    last: Key | None


def delete_stretch(connection: Connection, rule: Rule, lens: Lens, after: Key | None, *, rows: int) -> Step:
    """Delete what is due among so many rows behind a key by one statement; the rule has nothing that goes with them."""
    stretch = next_stretch(connection, rule.table, after, rows=rows)
    due = and_(within(rule.table, stretch), rule.where, lens.due)
    return Step(deleted=connection.execute(delete(rule.table).where(due)).rowcount, last=stretch.last)


def delete_rows(
    connection: Connection, rule: Rule, lens: Lens, after: Key | None, *, rows: int, allowed: int | None
) -> Step:
    """Delete what is due among so many rows behind a key, with all that hangs on it.

    Rows that somebody else has locked are left for another day. Raises ChangedError, and PermanentError when more than
    `allowed` are due.
    """
    stretch = next_stretch(connection, rule.table, after, rows=rows)
    return _delete(connection, rule, lens, find(connection, rule, lens, stretch, allowed=allowed, lock=True))


def delete_parcel(connection: Connection, rule: Rule, lens: Lens, parcel: Parcel) -> Step:
    """Delete of a parcel what is still due and as it was packed, and nothing else. Raises ChangedError."""
    found = find(connection, rule, lens, parcel.stretch, allowed=None, lock=True)
    now = gather(connection, rule, found.rows)
    unchanged = {key: values for key, values in found.rows.items() if now[key] == parcel.bundles.get(key)}
    return _delete(connection, rule, lens, replace(found, rows=unchanged), packed=now)


def _delete(connection: Connection, rule: Rule, lens: Lens, found: Found, *, packed: Bundles | None = None) -> Step:
    gone = 0
    for position, theirs in enumerate(rule.dependents):
        if values := {values[position] for values in found.rows.values()} - {None}:
            gone += connection.execute(delete(theirs.table).where(theirs.in_(values))).rowcount
    if packed is not None and gone != sum(len(packed[key]) - 1 for key in found.rows):
        raise ChangedError("rows came in that hang on others which are about to go")
    if found.rows:
        # Once more what makes them due: they are locked, but not by every storage engine.
        due = and_(among(rule.table, found.rows), rule.where, lens.due)
        if connection.execute(delete(rule.table).where(due)).rowcount != len(found.rows):
            raise ChangedError("rows are not due any more")
    return Step(deleted=len(found.rows), last=found.stretch.last)
