"""A section of a dump: a text that loads by itself."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True)
class Section:
    """A text that is to be read once; `rows` of one that holds rows is known when it was read."""

    kind: Literal["tables", "rows", "programs"]
    text: Iterable[bytes]
    table: str | None = None
    rows: int | None = None
