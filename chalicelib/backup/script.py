"""The text of a part that defines: statements one after the other, told apart without understanding any."""

import re
from collections.abc import Iterator

from chalicelib.core.errors import DamagedError

_BEGINNING = re.compile(rb"((?:SET [^\n]*;\n)*+)DELIMITER (\$\$+)\n")
_END = b"DELIMITER ;\n"
# Each takes memory beside its text. A schema has two for a program and one for a table.
MOST_STATEMENTS = 250_000


def statements_of(text: bytes, *, part: str) -> Iterator[bytes]:
    """Yield the statements of a part's text. Raises DamagedError where it is not written as such parts are."""
    beginning = _BEGINNING.match(text)
    if not beginning:
        raise DamagedError(f"{part} is damaged: it does not begin as definitions do")
    settings, delimiter = beginning.groups()
    separator = b"\n" + delimiter + b"\n"
    if (count := text.count(separator)) > MOST_STATEMENTS:
        raise DamagedError(f"{part} has {count:,} statements, and a restore reads {MOST_STATEMENTS:,}")
    *statements, end = text[beginning.end() :].split(separator)
    if end != _END:
        raise DamagedError(f"{part} is damaged: it does not end as definitions do")
    yield from (setting.removesuffix(b";") for setting in settings.splitlines())
    yield from statements
