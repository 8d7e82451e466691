"""The rows of a restore: each part in one transaction with its note in the journal, on several connections."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any, Protocol

from pymysql.constants import CLIENT, COMMAND
from pymysql.protocol import OKPacketWrapper

from chalicelib.backup.archive.manifest import Part
from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.connection import explained, quoted, tell
from chalicelib.backup.dump.tables import TRANSACTIONAL
from chalicelib.backup.progress import Telling, share
from chalicelib.backup.restore.target import Journal, Target
from chalicelib.core.errors import ConfigurationError, DamagedError, PermanentError, TransientError

# 4,096 columns, the most there can be, with the longest names.
MAX_HEAD_BYTES = 2 << 20
# A statement of so many rows is sent where rows cannot be loaded; a longer row is one of its own.
BATCH_BYTES = 1 << 20

_NAME = rb"`(?:[^`\0]|``)++`"
# What stands before the first statement is for other clients.
_HEAD = re.compile(rb"(?:(?!INSERT )[^\n]*+\n)*+(INSERT INTO (%b) (\(%b(?:,%b)*+\)) VALUES\n)" % (_NAME, _NAME, _NAME))
_VALUE = rb"(?:NULL|-?[0-9]++(?:\.[0-9]++)?+(?:e[-+]?[0-9]++)?+|(?:_utf8mb4)?'[^'\\]*+(?:\\.[^'\\]*+)*+')"
_ROW = rb"\(%b(?:,%b)*+\)" % (_VALUE, _VALUE)
_ROWS = re.compile(rb"%b(?:,\n%b)*+" % (_ROW, _ROW), re.S)


class Lines:
    """The rows of one table in a part's text; iterate once: pieces of any length, each row ends in `),` and LF.

    `columns` is their quoted list, as SQL has it. Raises DamagedError for anything but INSERTs into that table.
    """

    def __init__(self, text: Iterable[bytes], *, table: str, part: str) -> None:
        self._text = iter(text)
        self._part = part
        self._table = table
        self._held = b""
        head = self._read_head()
        name = b"`%b`" % table.encode().replace(b"`", b"``")
        if head[2] != name:
            raise self._damaged()
        self._between = b";\n" + head[1]
        self.columns = head[3]
        self._held = self._held[head.end() :]

    def _read_head(self) -> re.Match[bytes]:
        for chunk in self._text:
            self._held += chunk
            if found := _HEAD.match(self._held):
                return found
            if len(self._held) > MAX_HEAD_BYTES:
                break
        raise self._damaged()

    def __iter__(self) -> Iterator[bytes]:
        yield from self._take(self._held)
        for chunk in self._text:
            yield from self._take(self._held + chunk)
        if self._held != b";\n":
            raise self._damaged()
        yield b",\n"

    def _take(self, block: bytes) -> Iterator[bytes]:
        # Within a row there is no LF: where a statement ends, the next begins, or the part is at its end.
        start, between = 0, self._between
        while (end := block.find(b";\n", start)) >= 0 and len(block) >= end + len(between):
            if not block.startswith(between, end):
                raise self._damaged()
            yield block[start:end] + b",\n"
            start = end + len(between)
        if end < 0:
            end = len(block) - block.endswith(b";")
        if start < end:
            yield block[start:end]
        self._held = block[end:]

    def count(self) -> int:
        """Read all rows, and return how many there are."""
        return sum(piece.count(b"\n") for piece in self)

    def batches(self, *, most: int) -> Iterator[bytes]:
        """Yield the rows as VALUES of one statement each: whole rows, and nothing in them but literals.

        Of a row that is longer than `most` only the beginning is yielded, which is as long, and nothing after it.
        """
        held = bytearray()
        for piece in self:
            looked_at = max(0, len(held) - 1)
            held += piece
            if len(held) < BATCH_BYTES:
                continue
            if (end := held.rfind(b",\n", looked_at)) < 0:
                if len(held) > most:
                    yield bytes(held)
                    return
                continue
            yield self._checked(bytes(held[:end]))
            del held[: end + 2]
        if held:
            yield self._checked(bytes(held[:-2]))

    def _checked(self, rows: bytes) -> bytes:
        if not _ROWS.fullmatch(rows):
            raise self._damaged()
        return rows

    def _damaged(self) -> DamagedError:
        return DamagedError(f"{self._part} is damaged: it holds something else than rows of {self._table}")


# The smallest max_allowed_packet of any server that is in use is 1 MiB.
PACKET_BYTES = 1 << 18
# It reads the very lines that an INSERT has; SET NAMES does not count for it.
FORMAT = (
    rb" CHARACTER SET binary FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\'' ESCAPED BY '\\'"
    rb" LINES STARTING BY '(' TERMINATED BY '),\n' "
)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """How many rows a table took in, and the first of the server's warnings, if it gave any."""

    rows: int
    warning: str | None


class Way(Protocol):
    """How rows get in, in the caller's transaction: `load` or `insert`."""

    def __call__(self, connection: Any, lines: Lines, *, table: bytes) -> Loaded: ...


def takes_streams(connection: Any) -> bool:
    """Return whether both sides allow LOAD DATA LOCAL.

    The connection needs CLIENT.LOCAL_FILES among its flags, and never PyMySQL's own `local_infile`, which sends
    whatever file of this machine the server asks for.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.local_infile")
        row = cursor.fetchone()
    return bool(connection.client_flag & CLIENT.LOCAL_FILES and row and row[0])


def load(connection: Any, lines: Lines, *, table: bytes) -> Loaded:
    """Send rows as a stream of data, in the caller's transaction; `table` is quoted, with its schema.

    What does not fit becomes a warning, as LOAD DATA LOCAL has it: compare what was taken in with what was sent.
    Raises pymysql.err.Error, and what `lines` raise; then only a rollback may follow.
    """
    statement = b"LOAD DATA LOCAL INFILE 'rows' INTO TABLE " + table + FORMAT + lines.columns
    connection._execute_command(COMMAND.COM_QUERY, statement)
    # Whatever file it names: no file is read.
    connection._read_packet()
    try:
        for piece in lines:
            for start in range(0, len(piece), PACKET_BYTES):
                connection.write_packet(piece[start : start + PACKET_BYTES])
    finally:
        # An end in any case: the server answers only then, and not before its answer can it be told to roll back.
        if connection.open:
            connection.write_packet(b"")
            answer = connection._read_packet()
    done = OKPacketWrapper(answer)
    return Loaded(rows=done.affected_rows, warning=_first_warning(connection) if done.warning_count else None)


def insert(connection: Any, lines: Lines, *, table: bytes) -> Loaded:
    """Send rows as INSERTs of literals, in the caller's transaction; `table` is quoted, with its schema.

    Raises ConfigurationError for a row that is longer than a statement may be, pymysql.err.Error, and what `lines`
    raise; then only a rollback may follow.
    """
    rows, warning = 0, None
    head = b"INSERT INTO " + table + b" " + lines.columns + b" VALUES\n"
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (most,) = cursor.fetchone()
    for batch in lines.batches(most=most):
        # The server would hang up, as if it were in trouble.
        if len(head) + len(batch) >= most:
            raise ConfigurationError(
                f"a row has {len(batch):,} bytes or more, and max_allowed_packet of the server is {most:,}: raise it, "
                "or allow local_infile, with which no row is too long"
            )
        rows += connection.query(head + batch)
        if warning is None:
            warning = _first_warning(connection)
    return Loaded(rows=rows, warning=warning)


def _first_warning(connection: Any) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW WARNINGS LIMIT 1")
        row = cursor.fetchone()
    # SET NAMES binary: text comes as bytes.
    return None if row is None else f"{row[2].decode(errors='replace')} ({row[1]})"


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
        name, table = self._reader.label(part), part.table or ""
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
