"""The rows of a restore: each part in one transaction with its note in the journal, on several connections."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from threading import Event
from typing import Any

from chalicelib.backup.contents import name_of
from chalicelib.backup.explained import explained
from chalicelib.backup.journal import Journal
from chalicelib.backup.lines import Lines
from chalicelib.backup.loading import Way, insert, load, takes_streams
from chalicelib.backup.manifest import Part
from chalicelib.backup.quoting import quoted
from chalicelib.backup.reader import Reader
from chalicelib.backup.session import tell
from chalicelib.backup.sharing import share
from chalicelib.backup.tables import TRANSACTIONAL
from chalicelib.backup.target import Target
from chalicelib.backup.telling import Telling
from chalicelib.core.errors import PermanentError, TransientError

_ENGINES = (
    b"SELECT TABLE_NAME,ENGINE FROM information_schema.TABLES"
    b" WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED')"
)
# MySQL's own type takes no bytes of a stream, only text with its character set before it.
_WITH_JSON = b"SELECT TABLE_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() AND DATA_TYPE='json'"


class Filling:
    """Fills tables with the rows of their parts, in the order of these."""

    def __init__(self, reader: Reader, target: Target, journal: Journal, parts: Mapping[str, Sequence[Part]]) -> None:
        self._reader = reader
        self._target = target
        self._journal = journal
        self._parts = parts
        self._stop = Event()

    def empty_half_filled(self) -> None:
        """Empty tables without transactions of rows that no note may tell of: those of a restore that was ended."""
        notes = self._journal.read()
        with self._target.connection() as connection:
            for table, engine in tell(connection, _ENGINES):
                names = {part.name for part in self._parts.get(table, ())}
                if engine not in TRANSACTIONAL and not names <= notes.keys():
                    self._journal.forget(connection, names)
                    connection.commit()
                    connection.query(b"TRUNCATE TABLE " + quoted(table))

    def fill(self, *, connections: int, progress: Callable[[Part], None]) -> None:
        """Load each part that is not noted; `progress` is called after each, and what it raises ends it.

        Raises as `Target.connection`, DamagedError.
        """
        noted = self._journal.read().keys()
        octets = sum(part.plain_bytes for parts in self._parts.values() for part in parts)
        told = Telling("loaded", backup=self._reader.manifest.id, total=octets)

        def fill_table(connection: Any, way: Way, table: str) -> None:
            # One part after the other: parts of one table would wait for each other's keys and counters.
            for part in self._parts[table]:
                if self._stop.is_set():
                    return
                if part.name not in noted:
                    self._load(connection, part, insert if table in with_json else way)
                told.add(part.plain_bytes)
                progress(part)

        with ExitStack() as stack:
            together = [stack.enter_context(self._target.connection()) for _ in range(connections)]
            with_json = {name for (name,) in tell(together[0], _WITH_JSON)}
            workers = [partial(fill_table, one, load if takes_streams(one) else insert) for one in together]
            # The largest first, so that no connection is left alone with it.
            largest = sorted(self._parts, key=lambda table: -sum(part.plain_bytes for part in self._parts[table]))
            share(largest, workers, stop=self._stop)

    def _load(self, connection: Any, part: Part, way: Way) -> None:
        name, table = name_of(self._reader, part), part.table or ""
        # An error leaves the transaction to the end of the connection, which undoes it.
        with explained(f"loading {name}"):
            connection.begin()
            lines = Lines(self._until_stopped(self._reader.read(part)), table=table, part=name)
            done = way(connection, lines, table=quoted(table))
            if done.rows != part.rows:
                why = f": {done.warning}" if done.warning else ""
                raise PermanentError(f"{table} took in {done.rows} of the {part.rows} rows of {name}{why}")
            self._journal.note(connection, part.name, {"rows": done.rows, "warning": done.warning})
            connection.commit()

    def _until_stopped(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stop.is_set():
                raise TransientError("another part of the restore failed")
            yield chunk
