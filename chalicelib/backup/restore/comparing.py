"""A restored schema beside the manifest: what is not there, and what is not as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from chalicelib.backup.archive import manifest as manifests
from chalicelib.backup.connection import ask, prepare, quoted, tell
from chalicelib.backup.dump.rows import Rows
from chalicelib.backup.dump.tables import Table, read_tables
from chalicelib.backup.progress import share
from chalicelib.backup.restore.target import Target

if TYPE_CHECKING:
    from chalicelib.backup.progress import Telling


_KINDS = {"VIEW": "views", "TRIGGER": "triggers", "EVENT": "events"}
_PROGRAMS = {
    "views": b"VIEWS WHERE TABLE_SCHEMA=DATABASE()",
    "triggers": b"TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()",
    "routines": b"ROUTINES WHERE ROUTINE_SCHEMA=DATABASE()",
    "events": b"EVENTS WHERE EVENT_SCHEMA=DATABASE()",
}


def compare_tables(
    target: Target,
    tables: Sequence[manifests.Table],
    *,
    by_checksum: Collection[str],
    connections: int,
    told: Telling,
) -> list[str]:
    """Return a sentence for each table that has not the rows that the manifest says.

    Rows are counted; those of the tables in `by_checksum` are read, which takes as long as a backup of them, and told
    of. Raises as `Target.connection`.
    """
    with ExitStack() as stack:
        together = [stack.enter_context(target.connection()) for _ in range(connections)]
        for connection in together:
            prepare(connection)
        found = {table.name: table for table in read_tables(together[0], target.schema)}
        [(packet,)] = ask(together[0], b"SELECT @@max_allowed_packet")
        differences: list[str] = []

        def compare(connection: Any, wanted: manifests.Table) -> None:
            table = found.get(wanted.name)
            if table is None:
                differences.append(f"there is no table {wanted.name}")
            elif wanted.rows is not None:
                checksum = wanted.checksum if wanted.name in by_checksum else None
                differences.extend(_compare(connection, table, packet, rows=wanted.rows, checksum=checksum, told=told))

        share(tables, [partial(compare, connection) for connection in together], stop=Event())
    return sorted(differences)


def _compare(
    connection: Any, table: Table, packet: int, *, rows: int, checksum: str | None, told: Telling
) -> Iterator[str]:
    if checksum is None:
        [(count,)] = ask(connection, b"SELECT COUNT(*) FROM " + quoted(table.name))
    else:
        read, before = Rows(connection, table, packet=packet), 0
        for _ in read.statements():
            told.add(read.count - before)
            before = read.count
        count = read.count
        if count == rows and read.checksum != checksum:
            yield f"the rows of {table.name} are not those of the backup"
    if count != rows:
        yield f"{table.name} has {count} rows, and the backup {rows}"


def compare_programs(target: Target, programs: manifests.Programs, *, broken: Collection[str]) -> list[str]:
    """Return a sentence for each kind of programs of which there are more or fewer. Raises as `Target.connection`.

    `broken` are the kinds of those that could not be made.
    """
    differences = []
    missing = Counter(_KINDS.get(kind, "routines") for kind in broken)
    with target.connection() as connection:
        for kind, place in _PROGRAMS.items():
            [(count,)] = tell(connection, b"SELECT COUNT(*) FROM information_schema." + place)
            if count + missing[kind] != getattr(programs, kind):
                differences.append(f"there are {count} {kind}, and {getattr(programs, kind)} in the backup")
    return differences
