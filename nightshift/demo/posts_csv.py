"""Posts from a CSV file in the format of the public Hacker News data set."""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from chalicelib.core.clock import to_ms

COLUMNS = ("id", "title", "url", "num_points", "num_comments", "author", "created_at")
NAMESPACE = UUID("7c0f5b0e-5d0c-4b53-9a63-1c3f6b1f2f57")
TITLE_LENGTH, URL_LENGTH, AUTHOR_LENGTH = 500, 2048, 255
MAX_INTEGER = 2**31 - 1


@dataclass(frozen=True)
class BadRow:
    """An invalid row, and the line of the file on which it starts, from 1."""

    line: int
    reason: str


def read_posts(path: Path) -> Iterator[dict[str, Any] | BadRow]:
    """Yield each row of a UTF-8 CSV file as a row of `posts`, or as a BadRow. A time without a zone is in UTC.

    Raises ValueError if the file is missing, empty, not UTF-8, or lacks a column.
    """
    try:
        # Other bytes than UTF-8 become surrogates, so that _checked can name their line.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield from _read(_checked(file, path), path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}.") from error


def _checked(lines: Iterable[str], path: Path) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        try:
            line.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{path} is not UTF-8: line {number} has invalid bytes.") from error
        yield line


def _read(lines: Iterable[str], path: Path) -> Iterator[dict[str, Any] | BadRow]:
    reader = csv.reader(lines, strict=True)
    try:
        header = [name.strip() for name in next((row for row in reader if row), [])]
    except csv.Error as error:
        raise ValueError(f"{path} has a header that is not CSV: {error}.") from error
    if not header:
        raise ValueError(f"{path} is empty; its first line must name the columns {', '.join(COLUMNS)}.")
    if missing := [name for name in COLUMNS if name not in header]:
        found = ", ".join(map(_quote, header[:20]))
        raise ValueError(f"{path} lacks the column(s) {', '.join(missing)}; it has {found}.")

    seen: set[bytes] = set()
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
            if cells:  # skip blank lines
                yield _post(header, cells, seen)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(line, f"the row is not CSV: {error}")
        except _RowError as error:
            yield BadRow(line, str(error))


class _RowError(Exception):
    """A row is invalid."""


def _post(header: list[str], cells: list[str], seen: set[bytes]) -> dict[str, Any]:
    if len(cells) != len(header):
        raise _RowError(f"the row has {len(cells)} cells, the header {len(header)}")
    row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
    for name, value in row.items():
        if "\0" in value:
            raise _RowError(f"{name} has a NUL character: {_quote(value)}")
    for name in ("id", "title"):
        if not row[name]:
            raise _RowError(f"{name} is empty: {_quote(row[name])}")
    url, key = row["url"], uuid5(NAMESPACE, row["id"])
    is_link = url.lower().startswith(("http://", "https://")) and len(url) <= URL_LENGTH
    post = {
        "id": str(key),
        "title": _cut(row["title"], TITLE_LENGTH),
        "url": url if is_link else None,
        "author": _cut(row["author"], AUTHOR_LENGTH) or None,
        "points": _number("num_points", row),
        "comments": _number("num_comments", row),
        "views": 0,
        "created_at": _time("created_at", row),
    }
    if key.bytes in seen:
        raise _RowError(f"id was used by an earlier row: {_quote(row['id'])}")
    seen.add(key.bytes)
    return post


def _number(name: str, row: dict[str, str]) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", row[name]) or int(row[name]) > MAX_INTEGER:
        raise _RowError(f"{name} is not a whole number from 0 to {MAX_INTEGER}: {_quote(row[name])}")
    return int(row[name])


def _time(name: str, row: dict[str, str]) -> int:
    value = row[name]
    try:
        if "/" in value:
            return to_ms(datetime.strptime(value, "%m/%d/%Y %H:%M").replace(tzinfo=UTC))
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise _RowError(f"{name} is neither like 8/4/2016 11:52 nor ISO 8601: {_quote(value)}") from error
    return to_ms(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _quote(value: str) -> str:
    return _cut(repr(value), 40)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
