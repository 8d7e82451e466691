"""A part of a bench that is reckoned from what another has measured."""

import argparse
import os
from pathlib import Path

from bench import command
from bench.report import Part, find
from bench.stored import read_report


def measure(_: argparse.Namespace) -> Part:
    """Tell what was measured before."""
    time = find(read_report(Path(os.environ["MEASURED"])), "small", "slow", "time")
    return Part(about=f"It took {time:.1f} s.", machine="a machine", tables=())


if __name__ == "__main__":
    command.run(measure, __doc__, {})
