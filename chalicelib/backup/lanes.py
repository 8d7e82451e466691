"""The rows of all tables, side by side: each connection of a snapshot has a thread that takes table after table."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import chain
from threading import Event
from typing import Any, TypeVar

from pymysql import err
from pymysql.constants import ER

from chalicelib.backup.definitions import ROWS_HEADER
from chalicelib.backup.identity import MOST_TABLES, read_definition, read_identities
from chalicelib.backup.rows import END_OF_STATEMENT, Rows
from chalicelib.backup.section import Section
from chalicelib.backup.snapshot import Snapshot, let_go
from chalicelib.backup.tables import Table
from chalicelib.backup.unqualified import unqualified
from chalicelib.core.errors import TransientError

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
