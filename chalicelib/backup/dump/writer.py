"""A schema as SQL text, in sections: what makes its tables, the rows of each table, and what makes its programs."""

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
    in_order,
    read_events,
    read_routines,
    read_triggers,
    read_views,
)
from chalicelib.backup.dump.rows import END_OF_STATEMENT, Rows
from chalicelib.backup.dump.scope import Plan, check_sight
from chalicelib.backup.dump.snapshot import MOST_TABLES, Snapshot, let_go, read_definition, read_identities
from chalicelib.backup.dump.tables import TRANSACTIONAL, WITHOUT_ROWS, Table, read_sequences, read_tables, unqualified
from chalicelib.core.errors import TransientError


@dataclass(kw_only=True)
class Section:
    """A text that is to be read once; `rows` of one that holds rows is known when it was read."""

    kind: Literal["tables", "rows", "programs"]
    text: Iterable[bytes]
    table: str | None = None
    rows: int | None = None


T = TypeVar("T")

# Of text: a section is stored as one object, and loaded in one transaction.
SECTION_OCTETS = 64 << 20
# InnoDB's own word for it; a column, or the table itself, is gone.
CHANGED = {ER.TABLE_DEF_CHANGED, ER.BAD_FIELD_ERROR, ER.NO_SUCH_TABLE}


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The rows of a table, and their checksum."""

    rows: int
    checksum: str


class StoppedError(TransientError):
    """Another thread failed, so that nobody needs the rest."""


class Lanes:
    """Tables' rows; `counted` has by name those that were read."""

    def __init__(self, snapshot: Snapshot, tables: Iterable[Table]) -> None:
        self.counted: dict[str, Counted] = {}
        self._snapshot = snapshot
        # The largest first, so that in the end no connection has much more to do than the others.
        self._waiting = deque(sorted(tables, key=lambda table: -table.octets))
        self._stopped = Event()

    def write(self, store: Callable[[Section], T]) -> list[T]:
        """Hand each section to `store`, which reads all of its text, and return what it returned, table by table.

        Raises what `store` raises, pymysql.err.Error, PermanentError.
        """
        with ThreadPoolExecutor(len(self._snapshot.connections), thread_name_prefix="dump") as threads:
            lanes = [threads.submit(self._run, connection, store) for connection in self._snapshot.connections]
            try:
                wait(lanes)
            finally:
                # Also when this thread is interrupted.
                self._stopped.set()
        return [result for lane in _first_error_first(lanes) for result in lane.result()]

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
            let_go(connection)
            self.counted[table.name] = Counted(rows=rows.count, checksum=rows.checksum)

    def _checked(self, connection: Any, table: Table, rows: Rows) -> Iterator[bytes]:
        """Yield the text of a table's rows. Raises TransientError where it is not the table that was defined."""
        known = self._snapshot.identities
        try:
            yield from rows.statements()
            # The rows that were read lock the table as it is: what is found now is what they were read from.
            definition = unqualified(read_definition(connection, table.name), self._snapshot.schema)
            found = read_identities(connection, table=table.name, with_numbers=len(known) <= MOST_TABLES)
        except err.MySQLError as error:
            if error.args[0] not in CHANGED:
                raise
            raise _changed(table) from error
        # Of so many tables the numbers are not looked at.
        expected = known.get(table.name, ())
        if len(known) > MOST_TABLES:
            expected = expected[:1]
        if (definition, found.get(table.name)) != (table.definition, expected):
            raise _changed(table)

    def _next_table(self) -> Table | None:
        try:
            return self._waiting.popleft()
        except IndexError:
            return None

    def _text(self, section: Section, pieces: Iterable[bytes], rows: Rows, *, before: int) -> Iterator[bytes]:
        header, octets = ROWS_HEADER, 0
        for piece in pieces:
            if self._stopped.is_set():
                raise StoppedError("another part of the backup failed")
            # Large pieces are better to compress than small ones.
            yield header + piece
            header = b""
            octets += len(piece)
            if octets >= SECTION_OCTETS and piece.endswith(END_OF_STATEMENT):
                break
        section.rows = rows.count - before


def _changed(table: Table) -> TransientError:
    return TransientError(
        f"the table {table.name} was changed, renamed or exchanged while it was backed up; make the backup again when "
        "no migration runs"
    )


def _first_error_first(lanes: list[Future[list[T]]]) -> list[Future[list[T]]]:
    # Those that were only stopped say nothing of what happened.
    return sorted(lanes, key=lambda lane: lane.exception() is None or isinstance(lane.exception(), StoppedError))


class Dump:
    """The text of a snapshot."""

    def __init__(self, snapshot: Snapshot, plan: Plan) -> None:
        """Read what the schema holds. Raises as `check_sight`, pymysql.err.Error, PermanentError."""
        first, schema = snapshot.connections[0], snapshot.schema
        check_sight(first, schema)
        self.sequences = [sequence for sequence in read_sequences(first) if plan.takes(sequence.name)]
        self.tables = [table for table in read_tables(first, schema) if plan.takes(table.name)]
        self.views = [view for view in read_views(first, schema) if plan.takes(view.name)]
        self.broken_views = find_broken(first, self.views)
        self.routines = [routine for routine in read_routines(first) if plan.takes(routine.name)]
        names = {table.name for table in self.tables}
        self.triggers = [trigger for trigger in read_triggers(first, schema) if trigger.table in names]
        self.events = [event for event in read_events(first) if plan.takes(event.name)]
        self._collation = snapshot.collation
        let_go(first)
        with_rows = [t for t in self.tables if plan.takes_rows(t.name) and t.engine.upper() not in WITHOUT_ROWS]
        # Their rows are as they are when they are read, not as they were at the moment of the snapshot.
        self.not_transactional = [table.name for table in with_rows if table.engine not in TRANSACTIONAL]
        self._lanes = Lanes(snapshot, with_rows)

    @property
    def counted(self) -> dict[str, Counted]:
        """What was counted of each table whose rows are in the dump, when these were written."""
        return self._lanes.counted

    def write(self, store: Callable[[Section], T]) -> list[T]:
        """Hand each section to `store`, which reads all of its text, and return what it returned, in loading order.

        Of rows, each connection's come on a thread of its own. Raises what `store` raises, pymysql.err.Error,
        PermanentError.
        """
        programs = [*self.routines, *in_order(self.views), *self.triggers, *self.events]
        tables = Section(kind="tables", text=[define_tables(self.sequences, self.tables)])
        rest = Section(kind="programs", text=[define_programs(programs, collation=self._collation)])
        return [store(tables), *self._lanes.write(store), store(rest)]
