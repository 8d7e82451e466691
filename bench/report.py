"""What a bench has found: a report of parts, each with tables of measures; in Python as in docs/bench.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Measure:
    """The median of so many rounds, and the least and the most of them, each rounded as it is shown."""

    median: float
    least: float
    most: float
    rounds: int


@dataclass(frozen=True, kw_only=True)
class Column:
    """What is measured, and in which unit; with `decimals` it is exact so far, else it has three digits that count."""

    name: str
    unit: str = ""
    decimals: int | None = None


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A column of its own: how often a row's median has that of the row `to`, or with `inverse` the other way round."""

    name: str
    column: str
    to: str
    inverse: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one thing, by the names of columns; `words` are further cells before the figures."""

    name: str
    measures: Mapping[str, Measure]
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows that were measured side by side; `texts` are the heads of the rows' names and words."""

    texts: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    ratios: tuple[Ratio, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part: what was measured with which sizes, when, on what, what is missing and why, and how long it took."""

    about: str
    machine: str
    tables: tuple[Table, ...]
    date: str = ""
    seconds: float = 0.0
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole bench: the parts by name, and of those that failed why; `quick` says that the sizes mean nothing.

    `again` are those parts that were measured on a second database server too.
    """

    date: str
    machine: str
    quick: bool
    parts: Mapping[str, Part]
    failed: Mapping[str, str]
    again: Mapping[str, Part] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """How long all parts took together; each may be of another run."""
        return sum(part.seconds for parts in (self.parts, self.again) for part in parts.values())


def ratio_of(table: Table, ratio: Ratio, row: Row) -> float | None:
    """Return a row's ratio, by the medians as they are shown; None where one of the two is missing or nothing."""
    others = [each.measures.get(ratio.column) for each in table.rows if each.name == ratio.to]
    ours = row.measures.get(ratio.column)
    if ours is None or not others or others[0] is None:
        return None
    over, under = (others[0].median, ours.median) if ratio.inverse else (ours.median, others[0].median)
    return over / under if under else None


def find(report: Report, part: str, row: str | None, column: str, *, table: int = 0) -> float:
    """Return a median of a part's table, by its row, None for the last. Raises ValueError where there is none."""
    try:
        rows = report.parts[part].tables[table].rows
        (found,) = rows[-1:] if row is None else (each for each in rows if each.name == row)
        return found.measures[column].median
    except (KeyError, IndexError, ValueError):
        raise ValueError(
            f"the bench has no {column!r} of {row or 'the last row'!r} in {part!r}: run make bench"
        ) from None
