"""The rows of all tables, side by side: each connection of a snapshot has a thread that takes table after table."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import chain
from threading import Event
from typing import Any, TypeVar

from chalicelib.backup.definitions import ROWS_HEADER
from chalicelib.backup.rows import END_OF_STATEMENT, Rows
from chalicelib.backup.section import Section
from chalicelib.backup.snapshot import Snapshot, let_go
from chalicelib.backup.tables import Table
from chalicelib.errors import TransientError

T = TypeVar("T")

# Of text: a section is stored as one object, and loaded in one transaction.
SECTION_OCTETS = 64 << 20


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
            pieces = rows.statements()
            for first in pieces:
                section = Section(kind="rows", table=table.name, text=())
                section.text = self._text(section, chain([first], pieces), rows, before=before)
                yield section
                before = rows.count
            let_go(connection)
            self.counted[table.name] = Counted(rows=rows.count, checksum=rows.checksum)

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


def _first_error_first(lanes: list[Future[list[T]]]) -> list[Future[list[T]]]:
    # Those that were only stopped say nothing of what happened.
    return sorted(lanes, key=lambda lane: lane.exception() is None or isinstance(lane.exception(), StoppedError))
