"""What is selected of a table: each row's text in one value, and what is too long for that value by value."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from chalicelib.backup.columns import Column
from chalicelib.backup.quoting import quoted
from chalicelib.core.errors import ConfigurationError

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
