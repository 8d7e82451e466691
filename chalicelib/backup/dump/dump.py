"""Back up a schema: stream a snapshot's SQL text to the archive in sections, then write the manifest.

The sections are the tables, the rows of each table, and the programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from threading import Event
from typing import Any, Literal, TypeVar

from pymysql import err
from pymysql.constants import ER

from chalicelib.backup.archive import manifest as manifests
from chalicelib.backup.archive.encryption import Keys
from chalicelib.backup.archive.folder import parse_id
from chalicelib.backup.archive.manifest import Manifest, Part, Programs
from chalicelib.backup.archive.parts import ArchiveWriter
from chalicelib.backup.dump.definitions import (
    ROWS_HEADER,
    define_programs,
    define_tables,
    find_broken,
    order_views,
    read_events,
    read_routines,
    read_triggers,
    read_views,
)
from chalicelib.backup.dump.rows import END_OF_STATEMENT, Rows
from chalicelib.backup.dump.scope import Plan, check_privileges
from chalicelib.backup.dump.snapshot import (
    MAX_TABLES,
    Snapshot,
    read_definition,
    read_identities,
    release_locks,
    take_snapshot,
)
from chalicelib.backup.dump.tables import TRANSACTIONAL, WITHOUT_ROWS, Table, read_sequences, read_tables, strip_schema
from chalicelib.backup.progress import ProgressLogger, run_in_threads
from chalicelib.core.errors import TransientError
from chalicelib.core.server_errors import translate_errors
from chalicelib.core.store import Store
from chalicelib.core.telemetry import logger

# The size of a section's text. A section is stored as one object and loaded in one transaction.
SECTION_BYTES = 64 << 20
# The table was altered; a column or the table itself is gone.
CHANGED = {ER.TABLE_DEF_CHANGED, ER.BAD_FIELD_ERROR, ER.NO_SUCH_TABLE}

T = TypeVar("T")


def back_up_schema(
    connect: Callable[[], Any],
    store: Store,
    *,
    id: str,
    keys: Keys,
    plan: Plan,
    connections: int,
    progress: Callable[[Part], None],
) -> Manifest:
    """Back up the schema that `connect` connects to; `progress` is called after each part and may raise.

    A failed backup leaves no manifest. Raises TransientError, ConfigurationError, PermanentError.
    """
    # Thread-safe, unlike a generator.
    numbers = count(1)
    with (
        translate_errors("reading the database"),
        take_snapshot(connect, plan=plan, connections=connections) as snapshot,
    ):
        dump, progress_logger = Dump(snapshot, plan), ProgressLogger("written", backup=id, total=None)
        with ArchiveWriter(store, id=id, key=keys.first) as archive:

            def write(section: Section) -> Part:
                stored = archive.write(f"{next(numbers):05}.sql", section.text)
                part = Part.of(stored, kind=section.kind, table=section.table, rows=section.rows)
                progress_logger.add(part.plain_bytes)
                progress(part)
                return part

            parts = dump.write(write)
            uncounted = [manifests.Table(name=table.name, rows=None, checksum=None) for table in dump.tables]
            manifest = Manifest(
                id=id,
                taken_at=parse_id(id),
                schema=snapshot.schema,
                server=snapshot.server,
                position=snapshot.position,
                tables=tuple(dump.counted.get(table.name, table) for table in uncounted),
                programs=Programs(
                    views=len(dump.views),
                    triggers=len(dump.triggers),
                    routines=len(dump.routines),
                    events=len(dump.events),
                ),
                broken_views=tuple(dump.broken_views),
                parts=tuple(parts),
                key_id=None if keys.first is None else keys.first.id,
            )
            archive.finish(manifest)
    if dump.broken_views:
        # A restore cannot create a view that refers to a missing table.
        logger.warning("the schema has broken views", extra={"backup": id, "views": dump.broken_views})
    return manifest


@dataclass(kw_only=True)
class Section:
    """A text that loads on its own, to be read once; `rows` is known after reading it."""

    kind: Literal["tables", "rows", "programs"]
    text: Iterable[bytes]
    table: str | None = None
    rows: int | None = None


class Dump:
    """The SQL text of a snapshot; `counted` has, by name, the tables whose rows were written."""

    def __init__(self, snapshot: Snapshot, plan: Plan) -> None:
        """Read the schema's definitions. Raises as `check_privileges`, pymysql.err.Error, PermanentError."""
        first, schema = snapshot.connections[0], snapshot.schema
        check_privileges(first, schema)
        self.sequences = [sequence for sequence in read_sequences(first) if plan.takes(sequence.name)]
        self.tables = [table for table in read_tables(first, schema) if plan.takes(table.name)]
        self.views = [view for view in read_views(first, schema) if plan.takes(view.name)]
        self.broken_views = find_broken(first, self.views)
        self.routines = [routine for routine in read_routines(first) if plan.takes(routine.name)]
        names = {table.name for table in self.tables}
        self.triggers = [trigger for trigger in read_triggers(first, schema) if trigger.table in names]
        self.events = [event for event in read_events(first) if plan.takes(event.name)]
        release_locks(first)
        self.counted: dict[str, manifests.Table] = {}
        self._with_rows = [t for t in self.tables if plan.takes_rows(t.name) and t.engine.upper() not in WITHOUT_ROWS]
        self._snapshot = snapshot
        self._stopped = Event()

    @property
    def not_transactional(self) -> list[str]:
        """The tables whose rows are read as they are now, not as of the snapshot."""
        return [table.name for table in self._with_rows if table.engine not in TRANSACTIONAL]

    def write(self, store: Callable[[Section], T]) -> list[T]:
        """Pass each section to `store`, which reads all of its text, and return its results in loading order.

        `store` is called from several threads for rows. Raises what `store` raises, pymysql.err.Error,
        PermanentError, and TransientError if a table changes.
        """
        programs = [*self.routines, *order_views(self.views), *self.triggers, *self.events]
        collation = self._snapshot.server.collation or ""
        tables = Section(kind="tables", text=[define_tables(self.sequences, self.tables)])
        rest = Section(kind="programs", text=[define_programs(programs, collation=collation)])
        return [store(tables), *self._write_rows(store), store(rest)]

    def _write_rows(self, store: Callable[[Section], T]) -> list[T]:
        stored: dict[str, list[T]] = {}

        def write(connection: Any, table: Table) -> None:
            stored[table.name] = [store(section) for section in self._sections(connection, table)]

        # The largest first, so that all connections finish at about the same time.
        largest = sorted(self._with_rows, key=lambda table: -table.data_bytes)
        run_in_threads(largest, [partial(write, each) for each in self._snapshot.connections], stop=self._stopped)
        return [result for results in stored.values() for result in results]

    def _sections(self, connection: Any, table: Table) -> Iterator[Section]:
        rows, before = Rows(connection, table, packet=self._snapshot.packet), 0
        pieces = self._checked(connection, table, rows)
        for first in pieces:
            section = Section(kind="rows", table=table.name, text=())
            section.text = self._text(section, chain([first], pieces), rows, before=before)
            yield section
            before = rows.count
        release_locks(connection)
        self.counted[table.name] = manifests.Table(name=table.name, rows=rows.count, checksum=rows.checksum)

    def _checked(self, connection: Any, table: Table, rows: Rows) -> Iterator[bytes]:
        """Yield the text of a table's rows. Raises TransientError if the table's definition has changed."""
        known = self._snapshot.identities
        try:
            yield from rows.statements()
            # Reading rows locked the table's metadata, so this is the definition that the rows were read with.
            definition = strip_schema(read_definition(connection, table.name), self._snapshot.schema)
            found = read_identities(connection, table=table.name, with_numbers=len(known) <= MAX_TABLES)
        except err.MySQLError as error:
            if error.args[0] not in CHANGED:
                raise
            raise _changed(table) from error
        # InnoDB's ids are not read for so many tables.
        expected = known.get(table.name, ())
        if len(known) > MAX_TABLES:
            expected = expected[:1]
        if (definition, found.get(table.name)) != (table.definition, expected):
            raise _changed(table)

    def _text(self, section: Section, pieces: Iterable[bytes], rows: Rows, *, before: int) -> Iterator[bytes]:
        header, size = ROWS_HEADER, 0
        for piece in pieces:
            if self._stopped.is_set():
                raise TransientError("another part of the backup failed")
            # Large pieces compress better.
            yield header + piece
            header = b""
            size += len(piece)
            if size >= SECTION_BYTES and piece.endswith(END_OF_STATEMENT):
                break
        section.rows = rows.count - before


def _changed(table: Table) -> TransientError:
    return TransientError(
        f"the table {table.name} was changed, renamed or exchanged during the backup; repeat the backup when no "
        "migration runs"
    )
