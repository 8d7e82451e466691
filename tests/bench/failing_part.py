"""A part of a bench that fails."""

import argparse

from bench import command
from bench.report import Part
from nightshift.local.servers import NotInstalledError


def measure(_: argparse.Namespace) -> Part:
    """Fail."""
    raise NotInstalledError("mariadbd is not installed")


if __name__ == "__main__":
    command.run(measure, __doc__, {})
