"""Printing: lines, tables and JSON to standard output, errors to standard error.

An error that a user can fix is one message, here and on the page of `nightshift dev`.
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from textwrap import wrap
from typing import Any

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console

MAX_CELL = 200
# The narrowest column that is worth wrapping, the indent of text below its label, and the length of an id.
MIN_WIDTH, INDENT, ID = 24, 4, 36

# A character that this terminal cannot encode must not stop the output.
if isinstance(sys.stdout, TextIOWrapper):
    sys.stdout.reconfigure(errors="replace")


class UsageError(ValueError):
    """An option or argument is invalid, whatever the deployment."""


class _Output(Console):
    """Standard output. If it cannot be written, the command ends with one error message."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            # Python flushes the rest at exit, which would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
            print_error(f"cannot write to standard output: {error.strerror}")
            raise SystemExit(1) from None


# Created before anything redirects standard output, so that it keeps writing to the terminal.
# No emoji: text between two colons may be part of an id.
console = _Output(file=sys.stdout, highlight=False, soft_wrap=True, emoji=False)


def stderr_console() -> Console:
    """Return a console on the current standard error."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True, emoji=False)


def plain(text: object) -> str:
    """Return the text on one line without control characters: errors and rows may contain terminal commands."""
    return "".join(c if c.isprintable() else "·" for c in " ".join(str(text).split()))


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: 1 job, 1,200 jobs."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def print_lines(lines: Iterable[str]) -> None:
    """Print lines without interpreting markup, wrapped to the width of the terminal."""
    for line in lines:
        _print(console, line)


def print_error(message: str) -> None:
    """Print a message to standard error."""
    _print(stderr_console(), f"nightshift: {plain(message)}")


def message_of(error: Exception) -> str | None:
    """Return what is wrong and what to do, or None for an error that only a change of code can fix."""
    # Imported late: a command that succeeds needs none of it.
    from botocore.exceptions import BotoCoreError, ClientError
    from sqlalchemy.exc import SQLAlchemyError

    from chalicelib.core.error_text import sentence_of
    from chalicelib.core.errors import NightshiftError
    from nightshift.deploy.refusal import refusal_of

    if isinstance(error, (BotoCoreError, ClientError)):
        return refusal_of(error)
    return sentence_of(error) if isinstance(error, (ValueError, NightshiftError, SQLAlchemyError)) else None


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Print an error that the user can fix as one line and exit with 1, or with 2 for a UsageError."""
    try:
        yield
    except Exception as error:
        message = message_of(error)
        if message is None:
            raise
        print_error(message)
        raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None


def print_json(answer: Any) -> None:
    """Print an answer as JSON."""
    console.print(json.dumps(answer, indent=2), markup=False)


def print_answer(answer: Any, lines: Iterable[str], *, as_json: bool) -> None:
    """Print an answer as JSON, or else as lines."""
    if as_json:
        print_json(answer)
    else:
        print_lines(lines)


def fields(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each field that is not None; a value other than text is shown as JSON."""
    for key, value in found.items():
        if value is not None:
            yield f"{key:16} {plain(value if isinstance(value, str) else json.dumps(value))}"


def wrap_words(text: str, width: int) -> list[str]:
    """Return the text as lines of at most `width` columns. No word is split, since it may be an id or a link."""
    return wrap(text, max(width, MIN_WIDTH), break_long_words=False, break_on_hyphens=False) or [""]


def labelled(label: str, parts: Sequence[str], *, width: int) -> Iterator[str]:
    """Yield the wrapped parts next to their label, or below it where an id would not fit next to it."""
    fits = len(label) + min(ID, max(map(cell_len, parts))) <= width
    indent = len(label) if fits else INDENT
    wrapped = [line for part in parts for line in wrap_words(part, width - indent)]
    if fits:
        yield label + wrapped.pop(0)
    elif label.strip():
        yield label.rstrip()
    yield from (" " * indent + line for line in wrapped)


def table(columns: Sequence[str], rows: Iterable[tuple[Sequence[object], Sequence[object]]]) -> Iterator[str]:
    """Yield a table. A row is its cells and the parts of its last cell.

    In a terminal each part of the last cell starts a line and is wrapped; in a narrow one it goes below the others. If
    even the other cells do not fit, each is a line with its heading. When piped, a row is one line.
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
    fits = sum(widths) + max(MIN_WIDTH, longest) <= console.width
    indent = sum(widths) if fits else INDENT
    for cells, parts in shown:
        start = "".join(set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=True))
        if not console.is_terminal:
            yield start + "; ".join(parts)
            continue
        wrapped = [line for part in parts for line in wrap_words(part, console.width - indent)] or [""]
        yield start + (wrapped.pop(0) if fits else "")
        yield from (" " * indent + line for line in wrapped)


def _block(columns: Sequence[str], cells: Sequence[str], parts: Sequence[str]) -> Iterator[str]:
    _, *heads, last = columns
    first, *others = cells
    yield first
    widest = max(map(cell_len, heads))
    for head, values in zip([*heads, last], [*([each] for each in others), parts], strict=True):
        if any(values):
            yield from labelled(f"  {head:{widest}}  ", values, width=console.width)


def _print(target: Console, line: str) -> None:
    is_wrapped = target.is_terminal and cell_len(line) > target.width
    for part in wrap_words(line, target.width) if is_wrapped else [line]:
        target.print(part, markup=False)


def _cell(value: object) -> str:
    return "" if value is None else plain(value)[:MAX_CELL]
