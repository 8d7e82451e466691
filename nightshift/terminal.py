"""What the commands share of the terminal: where and how they print, and how an error becomes a sentence."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from textwrap import wrap
from typing import Annotated, Any

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console

from nightshift.completion import complete_stage, complete_task, complete_type

# What many commands take.
StageName = Annotated[
    str | None,
    typer.Option("--stage", help="The stage; without it, the settings of this shell.", autocompletion=complete_stage),
]
TaskName = Annotated[str, typer.Argument(metavar="TASK", show_default=False, autocompletion=complete_task)]
JobType = Annotated[str, typer.Argument(metavar="TYPE", show_default=False, autocompletion=complete_type)]
AsJson = Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")]
# The shortest last column beside the others, how far it is indented below them, and the longest cell.
SHORT, NARROW, LONG = 24, 4, 200

# Made before anything redirects standard output, so that it stays with the terminal.
# No emoji: text between two colons may be part of an id.
console = Console(file=sys.stdout, highlight=False, soft_wrap=True, emoji=False)


def beside() -> Console:
    """Return standard error as it is now."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True, emoji=False)


def plain(text: object) -> str:
    """Return the text in one line, without what a terminal would obey: errors and rows may hold anything."""
    return "".join(c if c.isprintable() else "·" for c in " ".join(str(text).split()))


def print_lines(lines: Iterable[str]) -> None:
    """Print lines in which brackets are no markup."""
    for line in lines:
        console.print(line, markup=False)


def complain(sentence: str) -> None:
    """Print a sentence on standard error."""
    beside().print(f"nightshift: {plain(sentence)}", markup=False)


def print_json(answer: Any) -> None:
    """Print an answer as JSON."""
    console.print(json.dumps(answer, indent=2), markup=False)


def table(columns: Sequence[str], rows: Iterable[tuple[Sequence[object], Sequence[object]]]) -> Iterator[str]:
    """Yield a table of one line a row: cells, and the parts of its last cell.

    In a terminal each part of the last cell begins a line and is folded, below the others where the window is narrow;
    what is in the first column, such as an id, is whole in any window.
    """
    *heads, last = columns
    found = [(heads, [last])] + [
        ([_cell(each) for each in row], [_cell(each) for each in parts]) for row, parts in rows
    ]
    widths = [2 + max(cell_len(cells[n]) for cells, _ in found) for n in range(len(heads))]
    is_beside = sum(widths) + SHORT <= console.width
    indent = sum(widths) if is_beside else NARROW
    for cells, parts in found:
        start = "".join(set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=True))
        if not console.is_terminal:
            yield start + "; ".join(parts)
            continue
        folded = [line for part in parts for line in wrap(part, max(console.width - indent, SHORT))] or [""]
        yield start + (folded.pop(0) if is_beside else "")
        yield from (" " * indent + line for line in folded)


def _cell(value: object) -> str:
    return "" if value is None else plain(value)[:LONG]


@contextmanager
def sentences() -> Iterator[None]:
    """Turn what a person can mend into one sentence on standard error, and exit code 1."""
    from nightshift.mendable import MENDABLE, reason_of

    try:
        yield
    except MENDABLE as error:
        complain(reason_of(error))
        raise typer.Exit(1) from None
