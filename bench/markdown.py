"""A report in Markdown: what a command prints, and what stands in docs/speed.md."""

from collections.abc import Collection, Iterator
from math import floor, log10

from bench.report import Column, Measure, Part, Report, Row, Table, ratio_of
from bench.tabulate import DIGITS

SPREAD = (
    "Each figure is the median of its rounds, with the least and the most of them in brackets; × is of the medians."
)


def as_markdown(report: Report) -> str:
    """Return a whole report."""
    return "\n\n".join(f"## {name}\n\n{text}" for name, text in sections(report).items())


def sections(report: Report, names: Collection[str] = ()) -> dict[str, str]:
    """Return the text of each place of docs/speed.md: `run` for the whole, and each part's by its name.

    A part that was measured on two servers has the tables of both, the second after the first; one of `names` that was
    not measured says so.
    """
    told = {"run": tell_run(report)} | dict.fromkeys(names, "Not measured yet.")
    for name, part in report.parts.items():
        passes = [part, *([report.again[name]] if name in report.again else [])]
        told[name] = "\n\n".join(map(tell_part, passes))
    return told | {name: f"**Failed:** {why}" for name, why in report.failed.items()}


def tell_run(report: Report) -> str:
    """Return when and where it was measured, and how to read it."""
    sizes = " Sizes are tiny: no figure means anything." if report.quick else ""
    return f"{report.date}, {report.machine}, {report.seconds / 60:.0f} minutes in all.{sizes}\n{SPREAD}"


def tell_part(part: Part) -> str:
    """Return a part: what it is, its tables, and what is missing."""
    lines = [f"{part.about} ({part.machine}; {part.date}, {part.seconds:.0f} s)", *map(tell_table, part.tables)]
    return "\n\n".join([*lines, *(f"Left out: {why}" for why in part.left_out)])


def tell_table(table: Table) -> str:
    """Return a table, padded so that it can be read as it is."""
    lines = [
        [*table.texts, *map(_head, table.columns), *(ratio.name for ratio in table.ratios)],
        *([*_words(table, row), *_figures(table, row)] for row in table.rows),
    ]
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    texts = len(table.texts)
    marks = [width * "-" if n < texts else (width - 1) * "-" + ":" for n, width in enumerate(widths)]
    padded = [
        [
            cell.ljust(width) if n < texts else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], marks, *padded[1:]))


def _head(column: Column) -> str:
    return f"{column.name}, {column.unit}" if column.unit else column.name


def _words(table: Table, row: Row) -> list[str]:
    words = [word.replace("|", r"\|") for word in (row.name, *row.words)]
    return words + [""] * (len(table.texts) - len(words))


def _figures(table: Table, row: Row) -> Iterator[str]:
    for column in table.columns:
        yield tell_measure(row.measures[column.name], column) if column.name in row.measures else ""
    for ratio in table.ratios:
        found = ratio_of(table, ratio, row)
        yield "" if found is None else tell_ratio(found)


def tell_measure(measure: Measure, column: Column) -> str:
    """Return a median with its spread, or alone where all rounds had the same."""
    median, least, most = (tell_number(each, column) for each in (measure.median, measure.least, measure.most))
    return median if least == most else f"{median} ({least}–{most})"


def tell_number(value: float, column: Column) -> str:
    """Return a number with as many digits as the column says."""
    if column.decimals is not None:
        return f"{value:,.{column.decimals}f}"
    return f"{value:,.{max(0, DIGITS - 1 - floor(log10(abs(value))))}f}" if value else "0"


def tell_ratio(ratio: float) -> str:
    """Return a ratio with two digits or more, which is as many as hold in the next run."""
    if ratio >= 9.95:
        return f"{ratio:,.0f}"
    return f"{ratio:.1f}" if ratio >= 0.995 else f"{ratio:.2g}"
