"""The rows of a table as SQL text: the server writes it, and here it is freed of its packets and counted.

Nothing is done for a row by itself: Python needs a microsecond for the least of things, and a table has millions of
rows. A megabyte of packets is split at once by a regular expression. That is exact, not a guess: a text holds no Ctrl-Z
but its last byte, and what follows that is the head of the next packet.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from chalicelib.backup.connection import escaped, listed, quoted
from chalicelib.backup.dump.tables import Column, Table
from chalicelib.backup.dump.wire import END, ERROR, HEADER, NULL, Row, Wire
from chalicelib.core.errors import ConfigurationError, PermanentError

# No text holds this byte as it is, so it ends each row's.
END_OF_ROW = b"\x1a"
# MySQL names a value by its expression, and cuts that off within a character perhaps, which PyMySQL fails to decode. No
# column has an empty name, so ORDER BY takes none for the value.
_UNNAMED = b" AS ``"
# In place of the text of a row that is too long.
LONG = b"\x1aLONG"
# Rows with more than this in their long columns are read value by value, in constant memory: the server writes no text
# that is longer than its longest packet, but takes NULL for it, and a row of two packets has a head in its midst.
MOST_IN_LONG_COLUMNS = 1 << 19
# That, escaped, and the most that a table may have in its other columns.
LEAST_PACKET = 1 << 21


@dataclass(frozen=True, kw_only=True)
class Part:
    """A piece of the text of a row that is too long: what the server wrote, or the value of a long column as it is."""

    expression: bytes
    long_column: Column | None


class Selection:
    """What to select of columns: first a row's text, then NULL for each part; or first `LONG`, then the parts."""

    def __init__(self, columns: Sequence[Column], *, packet: int) -> None:
        """Take the columns, and the server's longest packet in bytes. Raises ConfigurationError."""
        if packet < LEAST_PACKET:
            raise ConfigurationError(
                f"max_allowed_packet of the server is {packet:,} bytes, and a backup needs {LEAST_PACKET:,}: raise it"
            )
        self.parts: list[Part] = []
        if sum(column.most_octets for column in columns if column.is_long) > MOST_IN_LONG_COLUMNS:
            for is_long, group in groupby(columns, lambda column: column.is_long):
                together = list(group)
                self.parts += map(_value, together) if is_long else [_text(together)]
        self._columns = columns

    @property
    def expressions(self) -> bytes:
        """The list of what to select."""
        text = b"CONCAT(" + _concatenated(self._columns) + b",'" + END_OF_ROW + b"')"
        if not self.parts:
            return text + _UNNAMED
        lengths = [b"IFNULL(OCTET_LENGTH(%s),0)" % quoted(c.name) for c in self._columns if c.is_long]
        is_long = b"+".join(lengths) + b">%d" % MOST_IN_LONG_COLUMNS
        parts = [b"IF(%s,%s,NULL)" % (is_long, part.expression) for part in self.parts]
        return b",".join(value + _UNNAMED for value in [b"IF(%s,'%s',%s)" % (is_long, LONG, text), *parts])


def _value(column: Column) -> Part:
    return Part(expression=column.value, long_column=column)


def _text(columns: Sequence[Column]) -> Part:
    return Part(expression=b"CONCAT(" + _concatenated(columns) + b")", long_column=None)


def _concatenated(columns: Sequence[Column]) -> bytes:
    return b",',',".join(column.arguments for column in columns)


class Ordered:
    """Of rows in the order of a key: one digest over all."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, texts: bytes) -> None:
        """Add rows, with ends of rows between them."""
        self._digest.update(texts)
        self._digest.update(END_OF_ROW)

    def add_piece(self, piece: bytes) -> None:
        """Add a piece of a row."""
        self._digest.update(piece)

    def end_pieces(self) -> None:
        """End the row whose pieces were added."""
        self._digest.update(END_OF_ROW)

    def __str__(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"


class Unordered:
    """Of rows without a key, which come in any order: the sum of their digests."""

    def __init__(self) -> None:
        self._sum = 0
        self._digest = hashlib.sha256()

    def add(self, texts: bytes) -> None:
        """Add rows, with ends of rows between them."""
        self._sum += sum(int.from_bytes(hashlib.sha256(text).digest(), "big") for text in texts.split(END_OF_ROW))

    def add_piece(self, piece: bytes) -> None:
        """Add a piece of a row."""
        self._digest.update(piece)

    def end_pieces(self) -> None:
        """End the row whose pieces were added."""
        self._sum += int.from_bytes(self._digest.digest(), "big")
        self._digest = hashlib.sha256()

    def __str__(self) -> str:
        return f"sum-of-sha256:{self._sum % 2**256:064x}"


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
