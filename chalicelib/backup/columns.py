"""A column of a table, and the expression by which the server writes its values as SQL."""

from dataclasses import dataclass

from chalicelib.backup.quoting import quoted

NUMBERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year"})
MOMENTS = frozenset({"date", "time", "datetime", "timestamp"})
# DECIMAL(65,30) with its sign and its point is the longest of these.
SHORT = 80
# In a row beyond this the values of long columns count one by one: together the others have no more than 64 KiB.
LONG_OCTETS = 1 << 14


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that is stored; `octets` is what the longest value of a text has, None where the type does not say."""

    name: str
    type: str
    is_nullable: bool
    octets: int | None

    @property
    def most_octets(self) -> int:
        """No value has more."""
        if self.octets is not None:
            return self.octets
        return SHORT if self.type in NUMBERS | MOMENTS | {"bit", "uuid", "inet4", "inet6"} else 1 << 32

    @property
    def is_long(self) -> bool:
        """Whether a single value may be long."""
        return self.most_octets > LONG_OCTETS

    @property
    def value(self) -> bytes:
        """The expression of a value's bytes; of MySQL's own JSON type those of its text, as MySQL reads it again.

        A DECIMAL in it is a DOUBLE once it is read from text: 1.10 is 1.1 in what is restored, and so in what is
        compared with that.
        """
        name = quoted(self.name)
        return b"CAST(CAST(CONVERT(" + name + b" USING utf8mb4) AS JSON) AS CHAR)" if self.type == "json" else name

    @property
    def opening(self) -> bytes:
        """What opens a value's text; MySQL's own JSON type refuses binary strings."""
        return b"_utf8mb4'" if self.type == "json" else b"'"

    @property
    def arguments(self) -> bytes:
        """What CONCAT takes to make a value's text, never NULL."""
        name = quoted(self.name)
        if self.type in NUMBERS:
            # As it is, six digits are all that the server tells of a FLOAT.
            number = name + b"+0e0" if self.type == "float" else name
            return b"IFNULL(" + number + b",'NULL')" if self.is_nullable else number
        if self.type in MOMENTS:
            return b"QUOTE(" + name + b")" if self.is_nullable else b"'\\''," + name + b",'\\''"
        # As binary: the bytes as they are stored, whatever the character set, and QUOTE is faster. A UUID or an address
        # has another text, which is not taken for one where no character set is told.
        text = b"QUOTE(CAST(" + self.value + b" AS BINARY))"
        if self.type == "json":
            return b"IF(" + name + b" IS NULL,'NULL',CONCAT('_utf8mb4'," + text + b"))"
        return text
