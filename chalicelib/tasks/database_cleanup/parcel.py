"""A parcel: the rows of a stretch that are due, by themselves, or each with all that hangs on it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Select, Table, literal_column, select

from chalicelib.core.errors import PermanentError
from chalicelib.tasks.database_cleanup.archive import Line
from chalicelib.tasks.database_cleanup.moment import Lens
from chalicelib.tasks.database_cleanup.rule import Rule
from chalicelib.tasks.database_cleanup.stretch import Key, Stretch, among, by_primary_key, next_stretch, within

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
