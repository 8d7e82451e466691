"""Write a schema as SQL text, in sections: its tables, the rows of each table, and its programs."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import chain
from threading import Event
from typing import Any, Literal, TypeVar

from pymysql import err
from pymysql.constants import ER

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
from chalicelib.backup.dump.snapshot import MAX_TABLES, Snapshot, read_definition, read_identities, release_locks
from chalicelib.backup.dump.tables import TRANSACTIONAL, WITHOUT_ROWS, Table, read_sequences, read_tables, strip_schema
from chalicelib.core.errors import TransientError


@dataclass(kw_only=True)
class Section:
    """A text that loads on its own, to be read once; `rows` is known after reading it."""

    kind: Literal["tables", "rows", "programs"]
    text: Iterable[bytes]
    table: str | None = None
    rows: int | None = None


T = TypeVar("T")

# The size of a section's text. A section is stored as one object and loaded in one transaction.
SECTION_BYTES = 64 << 20
# The table was altered; a column or the table itself is gone.
CHANGED = {ER.TABLE_DEF_CHANGED, ER.BAD_FIELD_ERROR, ER.NO_SUCH_TABLE}


@dataclass(frozen=True, kw_only=True)
class TableCounts:
    """The number of rows of a table, and their checksum."""

    rows: int
    checksum: str


class StoppedError(TransientError):
    """Another thread failed, so the rest is not needed."""


class RowsWriter:
    """Writes the rows of tables, each connection on its own thread; `counted` has the tables that were read."""

    def __init__(self, snapshot: Snapshot, tables: Iterable[Table]) -> None:
        self.counted: dict[str, TableCounts] = {}
        self._snapshot = snapshot
        # The largest first, so that all connections finish at about the same time.
        self._waiting = deque(sorted(tables, key=lambda table: -table.data_bytes))
        self._stopped = Event()

    def write(self, store: Callable[[Section], T]) -> list[T]:
        """Pass each section to `store`, which reads all of its text, and return its results, table by table.

        Raises what `store` raises, pymysql.err.Error, PermanentError.
        """
        with ThreadPoolExecutor(len(self._snapshot.connections), thread_name_prefix="dump") as threads:
            futures = [threads.submit(self._run, connection, store) for connection in self._snapshot.connections]
            try:
                wait(futures)
            finally:
                # Also if this thread is interrupted.
                self._stopped.set()
        return [result for future in _first_error_first(futures) for result in future.result()]

    def _run(self, connection: Any, store: Callable[[Section], T]) -> list[T]:
        try:
            return [store(section) for section in self._sections(connection)]
        except BaseException:
            self._stopped.set()
            raise

    def _sections(self, connection: Any) -> Iterator[Section]:
        while table := self._next_table():
            rows, before = Rows(connection, table, packet=self._snapshot.packet), 0
            pieces = self._checked(connection, table, rows)
            for first in pieces:
                section = Section(kind="rows", table=table.name, text=())
                section.text = self._text(section, chain([first], pieces), rows, before=before)
                yield section
                before = rows.count
            release_locks(connection)
            self.counted[table.name] = TableCounts(rows=rows.count, checksum=rows.checksum)

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

    def _next_table(self) -> Table | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _text(self, section: Section, pieces: Iterable[bytes], rows: Rows, *, before: int) -> Iterator[bytes]:
        header, size = ROWS_HEADER, 0
        for piece in pieces:
            if self._stopped.is_set():
                raise StoppedError("another part of the backup failed")
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


def _first_error_first(futures: list[Future[list[T]]]) -> list[Future[list[T]]]:
    # The errors of stopped threads do not say what happened.
    return sorted(futures, key=lambda each: each.exception() is None or isinstance(each.exception(), StoppedError))


class Dump:
    """The SQL text of a snapshot."""

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
        self._collation = snapshot.collation
        release_locks(first)
        with_rows = [t for t in self.tables if plan.takes_rows(t.name) and t.engine.upper() not in WITHOUT_ROWS]
        # Their rows are read as they are now, not as of the snapshot.
        self.not_transactional = [table.name for table in with_rows if table.engine not in TRANSACTIONAL]
        self._rows = RowsWriter(snapshot, with_rows)

    @property
    def counted(self) -> dict[str, TableCounts]:
        """The counts of each table whose rows were written."""
        return self._rows.counted

    def write(self, store: Callable[[Section], T]) -> list[T]:
        """Pass each section to `store`, which reads all of its text, and return its results in loading order.

        `store` is called from several threads for rows. Raises what `store` raises, pymysql.err.Error,
        PermanentError.
        """
        programs = [*self.routines, *order_views(self.views), *self.triggers, *self.events]
        tables = Section(kind="tables", text=[define_tables(self.sequences, self.tables)])
        rest = Section(kind="programs", text=[define_programs(programs, collation=self._collation)])
        return [store(tables), *self._rows.write(store), store(rest)]
