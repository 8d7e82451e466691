"""What a month costs, by AWS's list prices, for each size of team; reckoned from what the other parts have measured.

python -m bench.cost
"""

import argparse

from bench import command
from bench.machine import machine
from bench.report import Column, Part, Row, Table
from bench.tabulate import measure
from scale.cost import Month, months, tell_price, total
from scale.line import Line
from scale.prices import AS_OF, REGION

DOLLARS = Column(name="dollars", decimals=2)


def main() -> None:
    """Reckon and print."""
    command.run(reckon, __doc__, {})


def reckon(_: argparse.Namespace) -> Part:
    """Reckon each team's month, line by line."""
    about = f"List prices of {REGION}, {AS_OF}, without free tiers."
    return Part(about=about, machine=machine(), tables=tuple(map(lines, months())))


def lines(month: Month) -> Table:
    """Return a month line by line, with the arithmetic."""
    sums = (("Nightshift adds", month.added), ("what is there anyhow", month.apart))
    rows = [row for name, each in sums for row in (*map(_line, each), _row(name, "all of these", total(each)))]
    return Table(texts=(f"{month.team} team", "reckoned"), columns=(DOLLARS,), rows=tuple(rows))


def _line(line: Line) -> Row:
    price = tell_price(line.price)
    return _row(f"{line.service}: {line.what}", f"{line.arithmetic}, at {price}", line.dollars)


def _row(name: str, reckoned: str, dollars: float) -> Row:
    return Row(name=name, words=(reckoned,), measures={DOLLARS.name: measure([dollars], DOLLARS)})


if __name__ == "__main__":
    main()
