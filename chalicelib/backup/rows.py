"""The rows of a table as SQL text: the server writes it, and here it is freed of its packets and counted.

Nothing is done for a row by itself: Python needs a microsecond for the least of things, and a table has millions of
rows. A megabyte of packets is split at once by a regular expression. That is exact, not a guess: a text holds no Ctrl-Z
but its last byte, and what follows that is the head of the next packet.
"""

import re
from collections.abc import Iterator
from typing import Any

from chalicelib.backup.checksums import Ordered, Unordered
from chalicelib.backup.quoting import escaped, listed, quoted
from chalicelib.backup.selection import END_OF_ROW, LONG, Selection
from chalicelib.backup.tables import Table
from chalicelib.backup.wire import END, ERROR, HEADER, NULL, Row, Wire
from chalicelib.core.errors import PermanentError

STATEMENT_OCTETS = 1 << 20
BETWEEN_ROWS = b"),\n("
END_OF_STATEMENT = b");\n"
# A packet's head and the length of its text; no text that begins with Ctrl-Z, no error, no end.
_HEAD = rb".{4}(?:\xfc..|[\0-\xfa]|\xfd...)(?=[^\x1a])"


class Rows:
    """A table's rows; once `statements` is read to its end, `count` and `checksum` are known."""

    def __init__(self, connection: Any, table: Table, *, packet: int) -> None:
        """Take the server's longest packet in bytes. Raises ConfigurationError, PermanentError."""
        if not table.columns:
            raise PermanentError(f"all columns of the table {table.name!r} are generated: back up its definition only")
        self.count = 0
        self._table = table
        self._connection = connection
        self._selection = Selection(table.columns, packet=packet)
        self._checksum = Ordered() if table.key else Unordered()

    @property
    def checksum(self) -> str:
        """Equal wherever a table of these columns has these rows."""
        return str(self._checksum)

    def statements(self) -> Iterator[bytes]:
        """Yield INSERT statements, long ones in pieces, of which the last ends in `END_OF_STATEMENT`."""
        table = self._table
        names = listed([column.name for column in table.columns])
        opening = b"INSERT INTO " + quoted(table.name) + b" (" + names + b") VALUES\n("
        order = b" ORDER BY " + listed(table.key) if table.key else b""
        query = b"SELECT " + self._selection.expressions + b" FROM " + quoted(table.name) + order
        wire = Wire(self._connection, query)
        for texts in self._texts(wire):
            if texts is None:
                yield opening
                yield from self._long_row(Row(wire))
                yield END_OF_STATEMENT
            elif texts:
                yield opening + self._join(texts) + END_OF_STATEMENT

    def _texts(self, wire: Wire) -> Iterator[list[bytes] | None]:
        """Yield the texts of many rows at a time, and None where the wire is at a row that is too long."""
        end = END_OF_ROW + b"\xfb" * len(self._selection.parts)
        boundary = re.compile(re.escape(end) + _HEAD, re.DOTALL)
        data = end
        while True:
            data = wire.receive(data, STATEMENT_OCTETS)
            if self._selection.parts and (at := data.find(LONG)) >= 0:
                # Before it are its own length, its packet's head, and the end of the row before.
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
                    raise PermanentError(f"the server wrote no text for a row of the table {self._table.name!r}")
                return wire.finish()

    def _join(self, texts: list[bytes]) -> bytes:
        self.count += len(texts)
        text = _without_line_ends(END_OF_ROW.join(texts))
        self._checksum.add(text)
        return text.replace(END_OF_ROW, BETWEEN_ROWS)

    def _long_row(self, row: Row) -> Iterator[bytes]:
        self.count += 1
        for piece in self._long_row_pieces(row):
            self._checksum.add_piece(piece)
            yield piece
        self._checksum.end_pieces()
        row.finish()

    def _long_row_pieces(self, row: Row) -> Iterator[bytes]:
        for _ in row.value() or ():
            # Says only that the row is too long.
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
    # QUOTE leaves them as they are.
    return text.replace(b"\n", b"\\n").replace(b"\r", b"\\r")


def _without_opening(texts: list[bytes]) -> list[bytes]:
    # The first end in the data stands before the first row.
    return texts[1:] if texts and not texts[0] else texts
