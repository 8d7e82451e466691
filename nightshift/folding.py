"""Text in a window that is narrower: folded at words, each of which stays whole, since it may be an id or a link."""

from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.cells import cell_len

# The narrowest column that is worth folding, how far what is below its label is indented, and the longest id.
SHORT, INDENT, ID = 24, 4, 36


def fold(text: str, width: int) -> list[str]:
    """Return the lines of a text in so many columns."""
    return wrap(text, max(width, SHORT), break_long_words=False, break_on_hyphens=False) or [""]


def labelled(label: str, parts: Sequence[str], *, width: int) -> Iterator[str]:
    """Yield parts, each folded, beside their label, or below it where an id would not fit beside it."""
    is_beside = len(label) + min(ID, max(map(cell_len, parts))) <= width
    indent = len(label) if is_beside else INDENT
    folded = [line for part in parts for line in fold(part, width - indent)]
    if is_beside:
        yield label + folded.pop(0)
    elif label.strip():
        yield label.rstrip()
    yield from (" " * indent + line for line in folded)
