"""A part of a bench that needs nothing: two ways, of which one is twice as fast."""

import argparse

from bench import command
from bench.report import Column, Part, Ratio
from bench.tabulate import tabulate

SIZES = {"rounds": (3, 1)}
COLUMNS = (Column(name="time", unit="s"), Column(name="done", unit="rows", decimals=0))


def measure(sizes: argparse.Namespace) -> Part:
    """Measure nothing."""
    taken = {
        "slow": [{"time": 2.0 + n, "done": 1234} for n in range(sizes.rounds)],
        "fast": [{"time": 1.0 + n / 2} for n in range(sizes.rounds)],
    }
    ratios = [Ratio(name="× slow", column="time", to="slow")]
    table = tabulate("way", COLUMNS, taken, ratios=ratios)
    machine = f"on {sizes.server}" if sizes.server else "a machine"
    return Part(about="Two ways.", machine=machine, tables=(table,), left_out=("a third, which is not here.",))


if __name__ == "__main__":
    command.run(measure, __doc__, SIZES)
