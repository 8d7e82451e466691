"""Compare a restored schema with the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

from chalicelib.backup.archive import manifest as manifests
from chalicelib.backup.connection import prepare_session, query_bytes, query_text, quoted
from chalicelib.backup.dump.rows import Rows
from chalicelib.backup.dump.tables import Table, read_tables
from chalicelib.backup.progress import run_in_threads
from chalicelib.backup.restore.target import Target

if TYPE_CHECKING:
    from chalicelib.backup.progress import ProgressLogger


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
    progress: ProgressLogger,
) -> list[str]:
    """Return a sentence for each table whose rows differ from the manifest.

    Count the rows, and compare the checksums of the tables in `by_checksum`, which takes as long as a backup of them.
    Raises as `Target.connection`.
    """
    with ExitStack() as stack:
        together = [stack.enter_context(target.connection()) for _ in range(connections)]
        for connection in together:
            prepare_session(connection)
        found = {table.name: table for table in read_tables(together[0], target.schema)}
        [(packet,)] = query_bytes(together[0], b"SELECT @@max_allowed_packet")
        differences: list[str] = []

        def compare(connection: Any, wanted: manifests.Table) -> None:
            table = found.get(wanted.name)
            if table is None:
                differences.append(f"the table {wanted.name} is missing")
            elif wanted.rows is not None:
                checksum = wanted.checksum if wanted.name in by_checksum else None
                differences.extend(
                    _compare(connection, table, packet, rows=wanted.rows, checksum=checksum, progress=progress)
                )

        run_in_threads(tables, [partial(compare, connection) for connection in together], stop=Event())
    return sorted(differences)


def _compare(
    connection: Any, table: Table, packet: int, *, rows: int, checksum: str | None, progress: ProgressLogger
) -> Iterator[str]:
    if checksum is None:
        [(count,)] = query_bytes(connection, b"SELECT COUNT(*) FROM " + quoted(table.name))
    else:
        read, before = Rows(connection, table, packet=packet), 0
        for _ in read.statements():
            progress.add(read.count - before)
            before = read.count
        count = read.count
        if count == rows and read.checksum != checksum:
            yield f"the rows of {table.name} differ from the backup"
    if count != rows:
        yield f"{table.name} has {count} rows, and the backup {rows}"


def compare_programs(target: Target, programs: manifests.Programs, *, broken: Collection[str]) -> list[str]:
    """Return a sentence for each kind of program whose number differs. Raises as `Target.connection`.

    `broken` are the kinds of programs that could not be created.
    """
    differences = []
    missing = Counter(_KINDS.get(kind, "routines") for kind in broken)
    with target.connection() as connection:
        for kind, place in _PROGRAMS.items():
            [(count,)] = query_text(connection, b"SELECT COUNT(*) FROM information_schema." + place)
            if count + missing[kind] != getattr(programs, kind):
                differences.append(f"there are {count} {kind}, and {getattr(programs, kind)} in the backup")
    return differences
