"""Delete a rule's due rows, one chunk in one transaction, and archive them first where the rule says so."""

import base64
import gzip
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import count
from operator import gt, le, lt
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, literal_column, or_, select, true

from chalicelib.api import PermanentError, TransientError
from chalicelib.core.store import Store
from chalicelib.tasks.database_cleanup.rules import Rule
from chalicelib.tasks.database_cleanup.timestamps import Cutoff

# MariaDB makes a temporary table of a longer list, and may then scan the other table.
MAX_KEYS = 900

Key = tuple[Any, ...]
Comparison = Callable[[Any, Any], ColumnElement[bool]]
# A table's name, and a row with all columns as the database names them.
ArchivedRow = tuple[str, Mapping[str, Any]]
# By primary key: the row, followed by its dependents.
Archivable = Mapping[Key, list[ArchivedRow]]


class RowsChangedError(TransientError):
    """Rows changed before they were deleted; the chunk is rolled back."""


@dataclass(frozen=True, kw_only=True)
class KeyRange:
    """The rows after the key `after` up to the key `last`; None is the start, or the end, of the table."""

    after: Key | None
    last: Key | None


@dataclass(frozen=True, kw_only=True)
class Deleted:
    """How many rows a chunk deleted, and the key up to which the table is processed; None is its end."""

    rows: int
    last: Key | None


class Archive:
    """Compressed JSON lines below a prefix of the bucket; no object is written twice."""

    def __init__(self, store: Store, *, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._numbers = count(1)

    def put(self, rows: Iterable[ArchivedRow]) -> None:
        """Store rows. Raises TransientError."""
        text = "".join(f"{_to_json(table, row)}\n" for table, row in rows)
        key = f"{self._prefix}-{next(self._numbers):06}.jsonl.gz"
        self._store.put(key, gzip.compress(text.encode(), mtime=0), content_type="application/gzip")


def _to_json(table: str, row: Mapping[str, Any]) -> str:
    return json.dumps({"table": table, "row": dict(row)}, ensure_ascii=False, separators=(",", ":"), default=_to_text)


def _to_text(value: object) -> object:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)


def next_range(connection: Connection, table: Table, after: Key | None, *, rows: int) -> KeyRange:
    """Return the range of the next `rows` rows in the order of the primary key, without locking them."""
    key = tuple(table.primary_key)
    query = select(*key).where(_after(key, after)).order_by(*key).offset(rows - 1).limit(1)
    last = connection.execute(by_primary_key(query, table)).one_or_none()
    return KeyRange(after=after, last=None if last is None else tuple(last))


def in_range(table: Table, keys: KeyRange) -> ColumnElement[bool]:
    """Return the condition of the rows in a range."""
    key = tuple(table.primary_key)
    return and_(_after(key, keys.after), _bounded(key, keys.last, lt, le) if keys.last else true())


def by_primary_key(query: Select[Any], table: Table) -> Select[Any]:
    """Return the query with the primary key forced: by another index MySQL would have to sort the rows."""
    return query.with_hint(table, "FORCE INDEX (PRIMARY)", "mysql")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """The next `rows` rows of a rule's table after the key `after`, of which `allowed` may be due; None is any number.

    Its methods raise PermanentError when more are due, and RowsChangedError.
    """

    rule: Rule
    cutoff: Cutoff
    after: Key | None
    rows: int
    allowed: int | None

    def delete(self, connection: Connection) -> Deleted:
        """Delete the due rows with one statement, however many; for a rule without dependents or archive."""
        keys = self._next_range(connection)
        due = and_(in_range(self.rule.table, keys), self.rule.where, self.cutoff.due)
        return Deleted(rows=connection.execute(delete(self.rule.table).where(due)).rowcount, last=keys.last)

    def delete_with_dependents(self, connection: Connection) -> Deleted:
        """Delete the due rows and their dependents; skip rows that another transaction has locked."""
        keys, due = self._find_due(connection, self._next_range(connection), lock=True)
        self._delete(connection, due)
        return Deleted(rows=len(due), last=keys.last)

    def read(self, connection: Connection) -> tuple[KeyRange, Archivable]:
        """Return the range and its due rows with their dependents, without locks."""
        keys, due = self._find_due(connection, self._next_range(connection), lock=False)
        return keys, _read_rows(connection, self.rule, due)

    def delete_archived(self, connection: Connection, keys: KeyRange, archived: Archivable) -> Deleted:
        """Delete the rows that are still due and equal to their archived copy."""
        keys, due = replace(self, allowed=None)._find_due(connection, keys, lock=True)
        now = _read_rows(connection, self.rule, due)
        unchanged = {key: values for key, values in due.items() if now[key] == archived.get(key)}
        if self._delete(connection, unchanged) != sum(len(now[key]) - 1 for key in unchanged):
            raise RowsChangedError("rows were inserted that depend on rows about to be deleted")
        return Deleted(rows=len(unchanged), last=keys.last)

    def _next_range(self, connection: Connection) -> KeyRange:
        return next_range(connection, self.rule.table, self.after, rows=self.rows)

    def _find_due(self, connection: Connection, keys: KeyRange, *, lock: bool) -> tuple[KeyRange, dict[Key, Key]]:
        """Return the due rows of a range by key, each with the values that its dependents refer to.

        The range ends earlier where it has more than MAX_KEYS candidates.
        """
        rule, allowed = self.rule, self.allowed
        query = select(*rule.key, self.cutoff.value, *rule.dependents.values())
        query = query.where(in_range(rule.table, keys), rule.where, self.cutoff.due).order_by(*rule.key).limit(MAX_KEYS)
        # A locked row is in use: do not wait for it while this transaction holds other rows.
        query = query.with_for_update(skip_locked=True) if lock else query
        rows = connection.execute(by_primary_key(query, rule.table)).all()
        width = len(rule.key)
        due = {tuple(row[:width]): tuple(row[width + 1 :]) for row in rows if _is_due(self.cutoff, row[width])}
        if allowed is not None and len(due) > allowed:
            raise PermanentError(f"more rows are due now than when they were counted; {allowed} more would be allowed")
        return replace(keys, last=tuple(rows[-1][:width])) if len(rows) == MAX_KEYS else keys, due

    def _delete(self, connection: Connection, due: Mapping[Key, Key]) -> int:
        """Delete rows and their dependents, and return how many dependents there were."""
        rule, dependents = self.rule, 0
        for position, column in enumerate(rule.dependents):
            if values := {values[position] for values in due.values()} - {None}:
                dependents += connection.execute(delete(column.table).where(column.in_(values))).rowcount
        if due:
            # Not every storage engine has locked the rows: check again that they are due.
            still_due = and_(_with_keys(rule.key, due), rule.where, self.cutoff.due)
            if connection.execute(delete(rule.table).where(still_due)).rowcount != len(due):
                raise RowsChangedError("rows are not due any more")
        return dependents


def _is_due(cutoff: Cutoff, value: object) -> bool:
    try:
        return cutoff.is_due(value)
    except ValueError:
        return False


def _read_rows(connection: Connection, rule: Rule, keys: Collection[Key]) -> Archivable:
    found: dict[Key, list[ArchivedRow]] = {key: [] for key in keys}
    if keys:
        ours = _with_keys(rule.key, keys)
        _append_rows(connection, _all_columns(connection, rule, rule.table).where(ours), rule.table, found)
        for column, referred in rule.dependents.items():
            query = _all_columns(connection, rule, column.table)
            query = query.select_from(rule.table.join(column.table, column == referred)).where(ours)
            _append_rows(connection, query, column.table, found)
    # Sorted here: the database would sort whole rows on its disk.
    return {key: rows[:1] + sorted(rows[1:], key=str) for key, rows in found.items()}


def _all_columns(connection: Connection, rule: Rule, table: Table) -> Select[Any]:
    # Includes columns that the mapping does not declare.
    name = connection.dialect.identifier_preparer.format_table(table)
    return by_primary_key(select(*rule.key, literal_column(f"{name}.*")), rule.table)


def _append_rows(
    connection: Connection, query: Select[Any], table: Table, found: Mapping[Key, list[ArchivedRow]]
) -> None:
    result = connection.execute(query)
    width = len(next(iter(found)))
    names = list(result.keys())[width:]
    for row in result:
        found[tuple(row[:width])].append((table.name, dict(zip(names, row[width:], strict=True))))


def _with_keys(columns: Sequence[ColumnElement[Any]], keys: Collection[Key]) -> ColumnElement[bool]:
    first, *rest = columns
    if not rest:
        return first.in_([key[0] for key in keys])
    groups: dict[Any, list[Key]] = {}
    for key in keys:
        groups.setdefault(key[0], []).append(key[1:])
    # Not (a, b) IN (…), for which MariaDB scans the table.
    return or_(*(and_(first == value, _with_keys(rest, below)) for value, below in groups.items()))


def _after(columns: Sequence[ColumnElement[Any]], key: Key | None) -> ColumnElement[bool]:
    return _bounded(columns, key, gt, gt) if key else true()


def _bounded(
    columns: Sequence[ColumnElement[Any]], key: Key, compare: Comparison, compare_last: Comparison
) -> ColumnElement[bool]:
    (first, *rest), value = columns, key[0]
    if not rest:
        return compare_last(first, value)
    # Not (a, b) > (x, y), for which MySQL and MariaDB scan the index.
    return or_(compare(first, value), and_(first == value, _bounded(rest, key[1:], compare, compare_last)))
