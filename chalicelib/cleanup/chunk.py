"""A chunk: the rows that go in one transaction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy import Connection, Select, Table, and_, delete, literal_column, select

from chalicelib.cleanup.archive import Archive, Line
from chalicelib.cleanup.moment import Lens
from chalicelib.cleanup.rule import Rule
from chalicelib.cleanup.stretch import Key, Stretch, among, by_primary_key, next_stretch, within
from chalicelib.database import Database
from chalicelib.errors import PermanentError, TransientError

# MariaDB makes a table of a longer list, and then may read all of the other one.
MOST_KEYS = 900


class ChangedError(TransientError):
    """What was to go changed under our hands, and nothing of it went."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What became of a chunk: `deleted` rows went; those up to the key `last` are done with, None being all."""

    deleted: int
    last: Key | None


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Rows that are due in a stretch, by key, each with the values that its dependents hold."""

    stretch: Stretch
    rows: Mapping[Key, tuple[Any, ...]]


def delete_stretch(connection: Connection, rule: Rule, lens: Lens, after: Key | None, *, rows: int) -> Step:
    """Delete what is due among so many rows behind a key by one statement; the rule has nothing that goes with them."""
    stretch = next_stretch(connection, rule.table, after, rows=rows)
    due = delete(rule.table).where(within(rule.table, stretch), rule.where, lens.due)
    return Step(deleted=connection.execute(due).rowcount, last=stretch.last)


def delete_rows(
    database: Database,
    rule: Rule,
    lens: Lens,
    after: Key | None,
    *,
    rows: int,
    allowed: int | None,
    archive: Archive | None,
) -> Step:
    """Delete what is due among so many rows behind a key, with all that hangs on it, archived before.

    Rows that somebody else has locked are left for another day. Raises PermanentError when more than `allowed` are
    due, ChangedError, and TransientError when they cannot be archived; nothing is deleted then.
    """

    def find(connection: Connection, *, lock: bool) -> _Found:
        stretch = next_stretch(connection, rule.table, after, rows=rows)
        found = _find(connection, rule, lens, stretch, lock=lock)
        if allowed is not None and len(found.rows) > allowed:
            raise PermanentError(f"more rows are due now than when they were counted; {allowed} more would be allowed")
        return found

    if archive is None:
        return database.transact(lambda connection: _delete(connection, rule, lens, find(connection, lock=True)))
    found = database.transact(partial(find, lock=False))
    archived = database.transact(lambda connection: _gather(connection, rule, found))
    if archived:
        archive.put(line for lines in archived.values() for line in lines)

    def delete_archived(connection: Connection) -> Step:
        again = _find(connection, rule, lens, found.stretch, lock=True)
        now = _gather(connection, rule, again)
        unchanged = {key: values for key, values in again.rows.items() if now.get(key) == archived.get(key)}
        return _delete(connection, rule, lens, replace(again, rows=unchanged), archived=archived)

    return database.transact(delete_archived)


def _find(connection: Connection, rule: Rule, lens: Lens, stretch: Stretch, *, lock: bool) -> _Found:
    query = select(*rule.key, lens.value, *rule.dependents.values())
    query = query.where(within(rule.table, stretch), rule.where, lens.due).order_by(*rule.key).limit(MOST_KEYS)
    # Whoever holds a row is at work on it, and shall not be waited for while we hold others.
    query = query.with_for_update(skip_locked=True) if lock else query
    rows = connection.execute(by_primary_key(query, rule.table)).all()
    width = len(rule.key)
    due = {tuple(row[:width]): tuple(row[width + 1 :]) for row in rows if _is_due(lens, row[width])}
    last = tuple(rows[-1][:width]) if len(rows) == MOST_KEYS else stretch.last
    return _Found(stretch=replace(stretch, last=last), rows=due)


def _is_due(lens: Lens, value: object) -> bool:
    try:
        return lens.is_due(value)
    except ValueError:
        return False


def _gather(connection: Connection, rule: Rule, found: _Found) -> dict[Key, list[Line]]:
    """Return by key what goes with each row that was found, itself last, as it is now."""
    gathered: dict[Key, list[Line]] = {key: [] for key in found.rows}
    if gathered:
        ours = among(rule.table, list(found.rows))
        for theirs, held in rule.dependents.items():
            query = _whole(connection, rule, theirs.table).select_from(rule.table.join(theirs.table, theirs == held))
            # Ours first, since MariaDB would rather walk along the other table's primary key than sort a few rows.
            query = query.where(ours).order_by(*theirs.table.primary_key).prefix_with("STRAIGHT_JOIN", dialect="mysql")
            _append(connection, query, theirs.table, gathered)
        _append(connection, _whole(connection, rule, rule.table).where(ours), rule.table, gathered)
    return gathered


def _whole(connection: Connection, rule: Rule, table: Table) -> Select[Any]:
    # Columns that the mapping does not know are archived as well.
    name = connection.dialect.identifier_preparer.format_table(table)
    return by_primary_key(select(*rule.key, literal_column(f"{name}.*")), rule.table)


def _append(connection: Connection, query: Select[Any], table: Table, gathered: dict[Key, list[Line]]) -> None:
    result = connection.execute(query)
    width = len(next(iter(gathered)))
    names = list(result.keys())[width:]
    for row in result:
        gathered[tuple(row[:width])].append((table.name, dict(zip(names, row[width:], strict=True))))


def _delete(
    connection: Connection,
    rule: Rule,
    lens: Lens,
    found: _Found,
    *,
    archived: Mapping[Key, list[Line]] | None = None,
) -> Step:
    """Delete the rows that were found and locked, behind what hangs on them."""
    gone = 0
    for position, theirs in enumerate(rule.dependents):
        values = {values[position] for values in found.rows.values()} - {None}
        if values:
            gone += connection.execute(delete(theirs.table).where(theirs.in_(values))).rowcount
    if archived is not None and gone != sum(len(archived[key]) - 1 for key in found.rows):
        raise ChangedError("rows came in that hang on others which are about to go")
    if found.rows:
        # Once more what makes them due: they are locked, but not by every storage engine.
        due = and_(among(rule.table, list(found.rows)), rule.where, lens.due)
        deleted = connection.execute(delete(rule.table).where(due)).rowcount
        if deleted != len(found.rows):
            raise ChangedError("rows are not due any more")
    return Step(deleted=len(found.rows), last=found.stretch.last)
