"""The rows of a table as SQL text: the server formats them, and here they are taken out of packets and counted.

No Python code runs per row, because a table has millions of them: a regular expression splits a megabyte of packets
at once. That is exact: in a row's text only the last byte is Ctrl-Z, and the next packet's header follows it.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from chalicelib.backup.connection import escaped, listed, quoted
from chalicelib.backup.dump.tables import Column, Table
from chalicelib.backup.dump.wire import END, ERROR, HEADER, NULL, ResultStream, RowReader
from chalicelib.core.errors import ConfigurationError, PermanentError

# Ends each row. QUOTE escapes this byte, so no text contains it.
END_OF_ROW = b"\x1a"
# MySQL names a value by its expression, possibly cut within a character, which PyMySQL fails to decode. No column has
# an empty name, so ORDER BY never refers to the value.
_UNNAMED = b" AS ``"
# Stands for the text of a row that is too long.
LONG = b"\x1aLONG"
# Rows with more than this in long columns are read value by value, in constant memory: CONCAT returns NULL beyond
# max_allowed_packet, and a row of two packets has a packet header inside.
MAX_LONG_BYTES = 1 << 19
# Fits the limit above when escaped, and the longest text of all other columns.
MIN_PACKET_BYTES = 1 << 21


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of a long row: text formatted by the server, or the raw value of a long column."""

    expression: bytes
    long_column: Column | None


class Selection:
    """The select list: a row's text, then NULL for each part; for a long row `LONG`, then the parts."""

    def __init__(self, columns: Sequence[Column], *, packet: int) -> None:
        """`packet` is max_allowed_packet in bytes. Raises ConfigurationError."""
        if packet < MIN_PACKET_BYTES:
            raise ConfigurationError(
                f"max_allowed_packet of the server is {packet:,} bytes, "
                f"and a backup needs {MIN_PACKET_BYTES:,}: raise it"
            )
        self.parts: list[Part] = []
        if sum(column.max_value_bytes for column in columns if column.is_long) > MAX_LONG_BYTES:
            for is_long, group in groupby(columns, lambda column: column.is_long):
                if is_long:
                    self.parts += [Part(expression=column.value, long_column=column) for column in group]
                else:
                    text = b"CONCAT(" + _concatenated(group) + b")"
                    self.parts.append(Part(expression=text, long_column=None))
        self._columns = columns

    @property
    def expressions(self) -> bytes:
        """The SQL select list."""
        text = b"CONCAT(" + _concatenated(self._columns) + b",'" + END_OF_ROW + b"')"
        if not self.parts:
            return text + _UNNAMED
        lengths = [b"IFNULL(OCTET_LENGTH(%s),0)" % quoted(c.name) for c in self._columns if c.is_long]
        is_long = b"+".join(lengths) + b">%d" % MAX_LONG_BYTES
        parts = [b"IF(%s,%s,NULL)" % (is_long, part.expression) for part in self.parts]
        return b",".join(value + _UNNAMED for value in [b"IF(%s,'%s',%s)" % (is_long, LONG, text), *parts])


def _concatenated(columns: Iterable[Column]) -> bytes:
    return b",',',".join(column.arguments for column in columns)


class OrderedChecksum:
    """Checksum of rows in the order of a key: one digest of all."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, texts: bytes) -> None:
        """Add rows, separated by END_OF_ROW."""
        self._digest.update(texts)
        self._digest.update(END_OF_ROW)

    def add_piece(self, piece: bytes) -> None:
        """Add a piece of a long row."""
        self._digest.update(piece)

    def end_pieces(self) -> None:
        """End a long row."""
        self._digest.update(END_OF_ROW)

    def __str__(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


class UnorderedChecksum:
    """Checksum of rows without a key, in any order: the sum of their digests."""

    def __init__(self) -> None:
        self._sum = 0
        self._digest = hashlib.sha256()

    def add(self, texts: bytes) -> None:
        """Add rows, separated by END_OF_ROW."""
        self._sum += sum(int.from_bytes(hashlib.sha256(text).digest(), "big") for text in texts.split(END_OF_ROW))

    def add_piece(self, piece: bytes) -> None:
        """Add a piece of a long row."""
        self._digest.update(piece)

    def end_pieces(self) -> None:
        """End a long row."""
        self._sum += int.from_bytes(self._digest.digest(), "big")
        self._digest = hashlib.sha256()

    def __str__(self) -> str:
        return f"sum-of-sha256:{self._sum % 2**256:064x}"


STATEMENT_BYTES = 1 << 20
BETWEEN_ROWS = b"),\n("
END_OF_STATEMENT = b");\n"
# A packet's header and the length of its text, unless it is a long row, an error or the end of the result.
_HEAD = rb".{4}(?:\xfc..|[\0-\xfa]|\xfd...)(?=[^\x1a])"


class Rows:
    """The rows of a table; `count` and `checksum` are known once `statements` is exhausted."""

    def __init__(self, connection: Any, table: Table, *, packet: int) -> None:
        """`packet` is max_allowed_packet in bytes. Raises ConfigurationError, PermanentError."""
        if not table.columns:
            raise PermanentError(f"all columns of the table {table.name!r} are generated: back up its definition only")
        self.count = 0
        self._table = table
        self._connection = connection
        self._selection = Selection(table.columns, packet=packet)
        self._checksum = OrderedChecksum() if table.key else UnorderedChecksum()

    @property
    def checksum(self) -> str:
        """The checksum of the rows."""
        return str(self._checksum)

    def statements(self) -> Iterator[bytes]:
        """Yield INSERT statements; a long one comes in pieces, the last of which ends in `END_OF_STATEMENT`."""
        table = self._table
        names = listed([column.name for column in table.columns])
        opening = b"INSERT INTO " + quoted(table.name) + b" (" + names + b") VALUES\n("
        order = b" ORDER BY " + listed(table.key) if table.key else b""
        query = b"SELECT " + self._selection.expressions + b" FROM " + quoted(table.name) + order
        wire = ResultStream(self._connection, query)
        for texts in self._texts(wire):
            if texts is None:
                yield opening
                yield from self._long_row(RowReader(wire))
                yield END_OF_STATEMENT
            elif texts:
                yield opening + self._join(texts) + END_OF_STATEMENT

    def _texts(self, wire: ResultStream) -> Iterator[list[bytes] | None]:
        """Yield the texts of many rows at a time, and None when the stream is at a long row."""
        end = END_OF_ROW + b"\xfb" * len(self._selection.parts)
        boundary = re.compile(re.escape(end) + _HEAD, re.DOTALL)
        data = end
        while True:
            data = wire.receive(data, STATEMENT_BYTES)
            if self._selection.parts and (at := data.find(LONG)) >= 0:
                # Before it are its length, its packet's header, and the end of the previous row.
                start = at - 1 - HEADER
                wire.put_back(data[start:])
                yield _without_opening(boundary.split(data[: start - len(end)]))
                yield None
                data = end
                continue
            *texts, data = boundary.split(data)
            row, found, packet = data.partition(end)
            is_last = bool(found) and packet[HEADER : HEADER + 1] in {END, ERROR, NULL}
            if is_last:
                texts.append(row)
                wire.put_back(packet)
            yield _without_opening(texts)
            if is_last:
                if packet[HEADER : HEADER + 1] == NULL:
                    raise PermanentError(f"the server returned no text for a row of the table {self._table.name!r}")
                return wire.finish()

    def _join(self, texts: list[bytes]) -> bytes:
        self.count += len(texts)
        text = _without_line_ends(END_OF_ROW.join(texts))
        self._checksum.add(text)
        return text.replace(END_OF_ROW, BETWEEN_ROWS)

    def _long_row(self, row: RowReader) -> Iterator[bytes]:
        self.count += 1
        for piece in self._long_row_pieces(row):
            self._checksum.add_piece(piece)
            yield piece
        self._checksum.end_pieces()
        row.finish()

    def _long_row_pieces(self, row: RowReader) -> Iterator[bytes]:
        for _ in row.value() or ():
            # Skip the marker `LONG`.
            pass
        for number, part in enumerate(self._selection.parts):
            if number:
                yield b","
            value = row.value()
            if part.long_column is None:
                yield from map(_without_line_ends, value or ())
            elif value is None:
                yield b"NULL"
            else:
                yield part.long_column.opening
                yield from map(escaped, value)
                yield b"'"


def _without_line_ends(text: bytes) -> bytes:
    # QUOTE does not escape line ends.
    return text.replace(b"\n", b"\\n").replace(b"\r", b"\\r")


def _without_opening(texts: list[bytes]) -> list[bytes]:
    # The data begins with the end of the previous row.
    return texts[1:] if texts and not texts[0] else texts
