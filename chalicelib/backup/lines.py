"""A rows part as lines of data: what makes statements of them is taken off, and nothing of it is ever executed."""

import re
from collections.abc import Iterable, Iterator

from chalicelib.core.errors import DamagedError

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
