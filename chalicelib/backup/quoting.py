"""Names and values as SQL text, in bytes: no connection's character set has a part in it."""

from collections.abc import Iterable

# The quote and the escape themselves, and what the plain client would change or take for the end of a row.
_ESCAPES = [
    (b"\\", b"\\\\"),
    (b"'", b"\\'"),
    (b"\0", b"\\0"),
    (b"\n", b"\\n"),
    (b"\r", b"\\r"),
    (b"\x1a", b"\\Z"),
]


def quoted(name: str) -> bytes:
    """Return a name as SQL has it."""
    return b"`" + name.encode().replace(b"`", b"``") + b"`"


def listed(names: Iterable[str]) -> bytes:
    """Return names between commas."""
    return b",".join(map(quoted, names))


def escaped(value: bytes) -> bytes:
    """Return a value, or any piece of one, as it stands between quotes."""
    for plain, escape in _ESCAPES:
        value = value.replace(plain, escape)
    return value


def literal(value: bytes) -> bytes:
    """Return a value as SQL has it."""
    return b"'" + escaped(value) + b"'"
