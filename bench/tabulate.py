"""Tables out of what rounds have taken."""

from collections.abc import Mapping, Sequence
from math import floor, log10
from statistics import median

from bench.report import Column, Measure, Ratio, Row, Table

# Digits that count, of what no column says otherwise of: more of them differ from one run to the next.
DIGITS = 3


def tabulate(
    what: str,
    columns: Sequence[Column],
    taken: Mapping[str, Sequence[Mapping[str, float]]],
    *,
    ratios: Sequence[Ratio] = (),
) -> Table:
    """Return a table with a row for each name, of what each of its rounds took by the names of columns."""
    rows = [
        Row(
            name=name,
            measures={
                column.name: measure([each[column.name] for each in rounds], column)
                for column in columns
                if column.name in rounds[0]
            },
        )
        for name, rounds in taken.items()
    ]
    return Table(texts=(what,), columns=tuple(columns), rows=tuple(rows), ratios=tuple(ratios))


def measure(values: Sequence[float], column: Column) -> Measure:
    """Return what the values of all rounds come to, rounded as the column is shown."""
    return Measure(
        median=rounded(median(values), column),
        least=rounded(min(values), column),
        most=rounded(max(values), column),
        rounds=len(values),
    )


def rounded(value: float, column: Column) -> float:
    """Return a value as the column shows it."""
    if column.decimals is not None:
        return round(value, column.decimals)
    return round(value, DIGITS - 1 - floor(log10(abs(value)))) if value else 0.0
