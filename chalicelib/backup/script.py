"""The text of a part that defines: statements one after the other, told apart without understanding any."""

import re
from collections.abc import Iterator

from chalicelib.errors import DamagedError

_BEGINNING = re.compile(rb"((?:SET [^\n]*;\n)*+)DELIMITER (\$\$+)\n")
_END = b"DELIMITER ;\n"


def statements_of(text: bytes, *, part: str) -> Iterator[bytes]:
    """Yield the statements of a part's text. Raises DamagedError where it is not written as such parts are."""
    beginning = _BEGINNING.match(text)
    if not beginning:
        raise DamagedError(f"{part} is damaged: it does not begin as definitions do")
    settings, delimiter = beginning.groups()
    *statements, end = text[beginning.end() :].split(b"\n" + delimiter + b"\n")
    if end != _END:
        raise DamagedError(f"{part} is damaged: it does not end as definitions do")
    yield from (setting.removesuffix(b";") for setting in settings.splitlines())
    yield from statements
