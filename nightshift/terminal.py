"""What the commands share of the terminal: where and how they print, and how an error becomes a sentence."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console

from nightshift.folding import INDENT, SHORT, fold, labelled
from nightshift.usage import UsageError

# The longest cell.
LONG = 200

# A sign that this terminal does not know is no reason to show nothing.
if isinstance(sys.stdout, TextIOWrapper):
    sys.stdout.reconfigure(errors="replace")


class _Output(Console):
    """Standard output; where nothing can be written any more, one sentence ends the command."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            # What is left of it would fail once more when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
            complain(f"standard output cannot be written: {error.strerror}")
            raise SystemExit(1) from None


# Made before anything redirects standard output, so that it stays with the terminal.
# No emoji: text between two colons may be part of an id.
console = _Output(file=sys.stdout, highlight=False, soft_wrap=True, emoji=False)


def beside() -> Console:
    """Return standard error as it is now."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True, emoji=False)


def plain(text: object) -> str:
    """Return the text in one line, without what a terminal would obey: errors and rows may hold anything."""
    return "".join(c if c.isprintable() else "·" for c in " ".join(str(text).split()))


def print_lines(lines: Iterable[str]) -> None:
    """Print lines in which brackets are no markup, folded where a terminal is narrower."""
    for line in lines:
        _print(console, line)


def complain(sentence: str) -> None:
    """Print a sentence on standard error."""
    _print(beside(), f"nightshift: {plain(sentence)}")


def print_json(answer: Any) -> None:
    """Print an answer as JSON."""
    console.print(json.dumps(answer, indent=2), markup=False)


def tell(answer: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Print an answer as JSON, or what there is to say of it."""
    if as_json:
        print_json(answer)
    else:
        print_lines(lines)


def fields(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each thing that is known of something; what is no text is JSON."""
    for key, value in found.items():
        if value is not None:
            yield f"{key:16} {plain(value if isinstance(value, str) else json.dumps(value))}"


def table(columns: Sequence[str], rows: Iterable[tuple[Sequence[object], Sequence[object]]]) -> Iterator[str]:
    """Yield a table of one line a row: cells, and the parts of its last cell.

    In a terminal each part of the last cell begins a line and is folded, below the others where the window is narrow;
    where not even they fit, each cell is a line below the first, with its head.
    """
    *heads, last = columns
    found = [([_cell(each) for each in row], [_cell(each) for each in parts]) for row, parts in rows]
    shown = [(heads, [last]), *found]
    widths = [2 + max(cell_len(cells[n]) for cells, _ in shown) for n in range(len(heads))]
    if console.is_terminal and sum(widths) > console.width:
        for cells, parts in found:
            yield from _block(columns, cells, parts)
        return
    longest = max((cell_len(word) for _, parts in shown for part in parts for word in part.split()), default=0)
    is_beside = sum(widths) + max(SHORT, longest) <= console.width
    indent = sum(widths) if is_beside else INDENT
    for cells, parts in shown:
        start = "".join(set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=True))
        if not console.is_terminal:
            yield start + "; ".join(parts)
            continue
        folded = [line for part in parts for line in fold(part, console.width - indent)] or [""]
        yield start + (folded.pop(0) if is_beside else "")
        yield from (" " * indent + line for line in folded)


def _block(columns: Sequence[str], cells: Sequence[str], parts: Sequence[str]) -> Iterator[str]:
    _, *heads, last = columns
    first, *others = cells
    yield first
    widest = max(map(cell_len, heads))
    for head, values in zip([*heads, last], [*([each] for each in others), parts], strict=True):
        if any(values):
            yield from labelled(f"  {head:{widest}}  ", values, width=console.width)


def _print(there: Console, line: str) -> None:
    is_folded = there.is_terminal and cell_len(line) > there.width
    for part in fold(line, there.width) if is_folded else [line]:
        there.print(part, markup=False)


def _cell(value: object) -> str:
    return "" if value is None else plain(value)[:LONG]


@contextmanager
def sentences() -> Iterator[None]:
    """Turn what a person can mend into one sentence on standard error, and exit code 1, or 2 for what was typed."""
    from nightshift.mendable import MENDABLE, reason_of

    try:
        yield
    except MENDABLE as error:
        complain(reason_of(error))
        raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None
