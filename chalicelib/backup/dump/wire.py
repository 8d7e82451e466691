"""Read the raw bytes of a result from the server, bypassing PyMySQL's parsing of packets and values."""

import re
from collections.abc import Iterator
from typing import Any

from pymysql import err
from pymysql.constants import CR
from pymysql.protocol import MysqlPacket

HEADER = 4
# The longest packet; a longer row continues in the next one.
FULL_PACKET = 0xFFFFFF
NULL, END, ERROR = b"\xfb", b"\xfe", b"\xff"
# The size of the length of a value longer than 250 bytes, by the byte before it.
LENGTHS = {0xFC: 2, 0xFD: 3, 0xFE: 8}
PIECE = 1 << 18
# The packet after the last row, and the one that replaces a row after an error.
_END = re.compile(rb"\x05\0\0.\xfe.{4}", re.DOTALL)
_ERROR = re.compile(rb"\xff..#[0-9A-Z]{5}", re.DOTALL)
_MAX_ERROR_BYTES = 600


class ResultStream:
    """The row packets of one query. The connection can be reused once all of them were read."""

    def __init__(self, connection: Any, query: bytes) -> None:
        """Send the query. This and all methods raise pymysql.err.Error."""
        connection.query(query, unbuffered=True)
        self._socket = connection._sock
        # What PyMySQL has already received with the column definitions.
        self._ahead: bytes = connection._rfile.read1()
        # PyMySQL must not read the result's packets, not even when the result is abandoned.
        connection._result.unbuffered_active = False
        connection._result = None
        self._buffer = bytearray()

    def receive(self, held: bytes, count: int) -> bytes:
        """Return `held` and exactly `count` bytes more, or less at the end of the result.

        Never more, so that equal rows are always split into equal statements.
        """
        # `held` is known not to be the end, even if it looks like it.
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
        """Put received bytes back, to be read again."""
        self._ahead = data + self._ahead

    def read(self, most: int) -> bytes:
        """Return at least one byte, and at most `most`."""
        data = self._ahead or self.receive(b"", most)
        self._ahead = data[most:]
        return data[:most]

    def read_exactly(self, count: int) -> bytes:
        """Return exactly `count` bytes."""
        data = self.read(count)
        while len(data) < count:
            data += self.read(count - len(data))
        return data

    def finish(self) -> None:
        """Read the packet after the last row, and raise its error if it is one."""
        packet = self.read_exactly(int.from_bytes(self.read_exactly(HEADER)[:3], "little"))
        MysqlPacket(packet, "utf8").check_error()


def _may_be_last(buffer: bytearray, length: int) -> bool:
    """Return whether this may be the end of the result. A value can look like it; then only less is read at once."""
    if _END.fullmatch(buffer, max(0, length - 9), length):
        return True
    start = max(0, length - _MAX_ERROR_BYTES)
    return buffer.find(b"#", start, length) >= 0 and _ERROR.search(buffer, start, length) is not None


class RowReader:
    """Reads the values of one row in pieces, across packets."""

    def __init__(self, wire: ResultStream) -> None:
        self._wire = wire
        self._left, self._has_next_packet = 0, True

    def value(self) -> Iterator[bytes] | None:
        """Return the next value in pieces, or None for NULL. Read all pieces before the next value."""
        first = self._number(1)
        if first == NULL[0]:
            return None
        return self._pieces(self._number(LENGTHS[first]) if first in LENGTHS else first)

    def finish(self) -> None:
        """Move the stream to the next row."""
        while self._has_next_packet:
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
        self._has_next_packet = self._left == FULL_PACKET
