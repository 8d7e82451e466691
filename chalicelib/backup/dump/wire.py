"""A result's bytes as they come from the server, past PyMySQL's parsing of each packet and value."""

import re
from collections.abc import Iterator
from typing import Any

from pymysql import err
from pymysql.constants import CR
from pymysql.protocol import MysqlPacket

HEADER = 4
# As long as a packet can be; a row that is longer goes on in the next.
FULL_PACKET = 0xFFFFFF
NULL, END, ERROR = b"\xfb", b"\xfe", b"\xff"
# How many bytes tell the length of a value that is longer than 250 bytes, by the byte before them.
LENGTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}
PIECE = 1 << 18
# The packet after the last row, or the one that comes instead of the next row.
_END = re.compile(rb"\x05\0\0.\xfe.{4}", re.DOTALL)
_ERROR = re.compile(rb"\xff..#[0-9A-Z]{5}", re.DOTALL)
_MOST_OF_ERROR = 600


class Wire:
    """The rows' packets of one query. The connection can be used again when all of them were read."""

    def __init__(self, connection: Any, query: bytes) -> None:
        """Send the query. Raises pymysql.err.Error, as all that follows does."""
        connection.query(query, unbuffered=True)
        self._socket = connection._sock
        # What PyMySQL has received already, with the descriptions of the columns.
        self._ahead: bytes = connection._rfile.read1()
        # From here on PyMySQL must not look for packets, not even of a result that was given up.
        connection._result.unbuffered_active = False
        connection._result = None
        self._buffer = bytearray()

    def receive(self, held: bytes, count: int) -> bytes:
        """Return what is held and so many bytes more, or all that the server still has to send.

        No more either, so that equal rows are cut alike.
        """
        # What is held was looked at, and is not the last: it may look so all the same.
        data, has_more, self._ahead = held + self._ahead, bool(self._ahead), b""
        wanted = len(held) + count
        if len(data) >= wanted:
            self._ahead = data[wanted:]
            return data[:wanted]
        if len(self._buffer) < wanted:
            self._buffer = bytearray(wanted)
        buffer, view, length = self._buffer, memoryview(self._buffer), len(data)
        buffer[:length] = data
        while length < wanted and not (has_more and _may_be_last(buffer, length)):
            try:
                received = self._socket.recv_into(view[length:wanted])
            except OSError as error:
                raise err.OperationalError(CR.CR_SERVER_LOST, f"Lost connection to MySQL server ({error})") from None
            if not received:
                raise err.OperationalError(CR.CR_SERVER_LOST, "Lost connection to MySQL server during query")
            length, has_more = length + received, True
        return bytes(view[:length])

    def put_back(self, data: bytes) -> None:
        """Take back what was received and is to be read again."""
        self._ahead = data + self._ahead

    def read(self, most: int) -> bytes:
        """Return at least one byte, and at most so many."""
        data = self._ahead or self.receive(b"", most)
        self._ahead = data[most:]
        return data[:most]

    def read_exactly(self, count: int) -> bytes:
        """Return so many bytes."""
        data = self.read(count)
        while len(data) < count:
            data += self.read(count - len(data))
        return data

    def finish(self) -> None:
        """Read the packet after the last row. Raises what it says where it is an error."""
        packet = self.read_exactly(int.from_bytes(self.read_exactly(HEADER)[:3], "little"))
        MysqlPacket(packet, "utf8").check_error()


def _may_be_last(buffer: bytearray, length: int) -> bool:
    """Return whether nothing may come after this: a value can look like that too, and then there is less at once."""
    if _END.fullmatch(buffer, max(0, length - 9), length):
        return True
    start = max(0, length - _MOST_OF_ERROR)
    return buffer.find(b"#", start, length) >= 0 and _ERROR.search(buffer, start, length) is not None


class Row:
    """The values of one row, read in pieces, across packets."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._left, self._goes_on = 0, True

    def value(self) -> Iterator[bytes] | None:
        """Return the next value in pieces, all of which are to be read before the next value, or None for NULL."""
        first = self._number(1)
        if first == NULL[0]:
            return None
        return self._pieces(self._number(LENGTHS[first]) if first in LENGTHS else first)

    def finish(self) -> None:
        """Leave the wire at the next row."""
        while self._goes_on:
            self._begin_packet()

    def _number(self, count: int) -> int:
        return int.from_bytes(b"".join(self._pieces(count)), "little")

    def _pieces(self, count: int) -> Iterator[bytes]:
        while count:
            while not self._left:
                self._begin_packet()
            piece = self._wire.read(min(count, self._left, PIECE))
            self._left -= len(piece)
            count -= len(piece)
            yield piece

    def _begin_packet(self) -> None:
        self._left = int.from_bytes(self._wire.read_exactly(HEADER)[:3], "little")
        self._goes_on = self._left == FULL_PACKET
