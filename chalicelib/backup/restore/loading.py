"""Load rows: each part in one transaction with its step in the journal, over several connections.

Rows go as a stream of data if the server allows it, else as INSERTs of literals. Nothing of a part is executed as SQL:
the INSERT statements around its rows are stripped. Compared with `zstd -d | mariadb` = 1 on one server, including the
check before: 0.23 to 0.31 over three connections, 0.35 to 0.47 over one.
"""

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
from chalicelib.backup.connection import query_text, quoted
from chalicelib.backup.dump.tables import TRANSACTIONAL
from chalicelib.backup.progress import ProgressLogger, run_in_threads
from chalicelib.backup.restore.target import Journal, Target
from chalicelib.core.errors import ConfigurationError, DamagedError, PermanentError, TransientError
from chalicelib.core.server_errors import translate_errors

# The maximum of 4,096 columns with the longest names.
MAX_HEAD_BYTES = 2 << 20
# The size of an INSERT; a longer row gets one of its own.
BATCH_BYTES = 1 << 20

_NAME = rb"`(?:[^`\0]|``)++`"
# The settings before the first statement are for other clients.
_HEAD = re.compile(rb"(?:(?!INSERT )[^\n]*+\n)*+(INSERT INTO (%b) (\(%b(?:,%b)*+\)) VALUES\n)" % (_NAME, _NAME, _NAME))
_VALUE = rb"(?:NULL|-?[0-9]++(?:\.[0-9]++)?+(?:e[-+]?[0-9]++)?+|(?:_utf8mb4)?'[^'\\]*+(?:\\.[^'\\]*+)*+')"
_ROW = rb"\(%b(?:,%b)*+\)" % (_VALUE, _VALUE)
_ROWS = re.compile(rb"%b(?:,\n%b)*+" % (_ROW, _ROW), re.S)


class RowLines:
    """The rows in the text of one table's part; iterate once. Pieces have any length; each row ends in `),` and LF.

    `columns` is the quoted list of columns. Raises DamagedError for anything but INSERTs into that table.
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
        # A row contains no LF. After a statement either the next one begins or the part ends.
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
        """Read all rows and return their number."""
        return sum(piece.count(b"\n") for piece in self)

    def batches(self, *, most: int) -> Iterator[bytes]:
        """Yield the VALUES of one INSERT each: whole rows that contain only literals.

        If a row is longer than `most`, yield a prefix that is longer than `most`, and end.
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
        return DamagedError(f"{self._part} is damaged: it contains more than rows of {self._table}")


# Every server in use has a max_allowed_packet of at least 1 MiB.
PACKET_BYTES = 1 << 18
# LOAD DATA parses the lines of the INSERTs; it ignores SET NAMES.
FORMAT = (
    rb" CHARACTER SET binary FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\'' ESCAPED BY '\\'"
    rb" LINES STARTING BY '(' TERMINATED BY '),\n' "
)


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The number of rows that a table accepted, and the server's first warning."""

    rows: int
    warning: str | None


class LoadMethod(Protocol):
    """Loads rows in the caller's transaction: `load_data` or `insert_rows`."""

    def __call__(self, connection: Any, lines: RowLines, *, table: bytes) -> Loaded: ...


def supports_load_data(connection: Any) -> bool:
    """Return whether client and server allow LOAD DATA LOCAL.

    The connection needs the flag CLIENT.LOCAL_FILES, and never PyMySQL's `local_infile`, which sends any local file
    that the server asks for.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.local_infile")
        row = cursor.fetchone()
    return bool(connection.client_flag & CLIENT.LOCAL_FILES and row and row[0])


def load_data(connection: Any, lines: RowLines, *, table: bytes) -> Loaded:
    """Send rows as a stream of data, in the caller's transaction; `table` is quoted, with its schema.

    LOAD DATA LOCAL turns errors into warnings, so compare the number of accepted rows. Raises pymysql.err.Error, and
    what `lines` raise; then roll back.
    """
    statement = b"LOAD DATA LOCAL INFILE 'rows' INTO TABLE " + table + FORMAT + lines.columns
    connection._execute_command(COMMAND.COM_QUERY, statement)
    # The server's request for a file. No file is read.
    connection._read_packet()
    try:
        for piece in lines:
            for start in range(0, len(piece), PACKET_BYTES):
                connection.write_packet(piece[start : start + PACKET_BYTES])
    finally:
        # Always end the stream: the server accepts a rollback only after it has answered.
        if connection.open:
            connection.write_packet(b"")
            answer = connection._read_packet()
    done = OKPacketWrapper(answer)
    return Loaded(rows=done.affected_rows, warning=_first_warning(connection) if done.warning_count else None)


def insert_rows(connection: Any, lines: RowLines, *, table: bytes) -> Loaded:
    """Send rows as INSERTs of literals, in the caller's transaction; `table` is quoted, with its schema.

    Raises ConfigurationError for a row that exceeds max_allowed_packet, pymysql.err.Error, and what `lines` raise; then
    roll back.
    """
    rows, warning = 0, None
    head = b"INSERT INTO " + table + b" " + lines.columns + b" VALUES\n"
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (most,) = cursor.fetchone()
    for batch in lines.batches(most=most):
        # The server would close the connection without a reason.
        if len(head) + len(batch) >= most:
            raise ConfigurationError(
                f"a row has {len(batch):,} bytes or more, and max_allowed_packet of the server is {most:,}: raise it, "
                "or allow local_infile, which has no such limit"
            )
        rows += connection.query(head + batch)
        if warning is None:
            warning = _first_warning(connection)
    return Loaded(rows=rows, warning=warning)


def _first_warning(connection: Any) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW WARNINGS LIMIT 1")
        row = cursor.fetchone()
    # Text arrives as bytes after SET NAMES binary.
    return None if row is None else f"{row[2].decode(errors='replace')} ({row[1]})"


_ENGINES = (
    b"SELECT TABLE_NAME,ENGINE FROM information_schema.TABLES"
    b" WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED')"
)
# MySQL's JSON type accepts only text with a character set, which LOAD DATA cannot give.
_WITH_JSON = b"SELECT TABLE_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() AND DATA_TYPE='json'"


class RowLoader:
    """Loads the rows of tables, part by part."""

    def __init__(self, reader: Reader, target: Target, journal: Journal, parts: Mapping[str, Sequence[Part]]) -> None:
        self._reader = reader
        self._target = target
        self._journal = journal
        self._parts = parts
        self._stop = Event()

    def truncate_partial_tables(self) -> None:
        """Truncate tables without transactions that may have rows of an interrupted restore."""
        notes = self._journal.read()
        with self._target.connection() as connection:
            for table, engine in query_text(connection, _ENGINES):
                names = {part.name for part in self._parts.get(table, ())}
                if engine not in TRANSACTIONAL and not names <= notes.keys():
                    self._journal.forget(connection, names)
                    connection.commit()
                    connection.query(b"TRUNCATE TABLE " + quoted(table))

    def load(self, *, connections: int, progress: Callable[[Part], None]) -> None:
        """Load each part that the journal does not have; `progress` is called after each, and what it raises ends it.

        Raises as `Target.connection`, DamagedError.
        """
        noted = self._journal.read().keys()
        size = sum(part.plain_bytes for parts in self._parts.values() for part in parts)
        progress_logger = ProgressLogger("loaded", backup=self._reader.manifest.id, total=size)

        def load_table(connection: Any, method: LoadMethod, table: str) -> None:
            # Parts of one table would block each other on keys and AUTO_INCREMENT.
            for part in self._parts[table]:
                if self._stop.is_set():
                    return
                if part.name not in noted:
                    self._load(connection, part, insert_rows if table in with_json else method)
                progress_logger.add(part.plain_bytes)
                progress(part)

        with ExitStack() as stack:
            together = [stack.enter_context(self._target.connection()) for _ in range(connections)]
            with_json = {name for (name,) in query_text(together[0], _WITH_JSON)}
            workers = [
                partial(load_table, one, load_data if supports_load_data(one) else insert_rows) for one in together
            ]
            # The largest first, so that all connections finish at about the same time.
            largest = sorted(self._parts, key=lambda table: -sum(part.plain_bytes for part in self._parts[table]))
            run_in_threads(largest, workers, stop=self._stop)

    def _load(self, connection: Any, part: Part, method: LoadMethod) -> None:
        name, table = self._reader.label(part), part.table or ""
        # After an error, closing the connection rolls back.
        with translate_errors(f"loading {name}"):
            connection.begin()
            lines = RowLines(self._until_stopped(self._reader.read(part)), table=table, part=name)
            done = method(connection, lines, table=quoted(table))
            if done.rows != part.rows:
                why = f": {done.warning}" if done.warning else ""
                raise PermanentError(f"{table} accepted {done.rows} of the {part.rows} rows of {name}{why}")
            self._journal.note(connection, part.name, {"rows": done.rows, "warning": done.warning})
            connection.commit()

    def _until_stopped(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            if self._stop.is_set():
                raise TransientError("another part of the restore failed")
            yield chunk
