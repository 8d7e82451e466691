"""A parcel: rows that are about to go, each with all that hangs on it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Table, literal_column, select

from chalicelib.cleanup.archive import Line
from chalicelib.cleanup.found import find
from chalicelib.cleanup.moment import Lens
from chalicelib.cleanup.rule import Rule
from chalicelib.cleanup.stretch import Key, Stretch, among, by_primary_key, next_stretch

# By key: a row, and behind it the rows that hang on it.
Bundles = Mapping[Key, list[Line]]


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What was due in a stretch when it was packed."""

    stretch: Stretch
    bundles: Bundles


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
