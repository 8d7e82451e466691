"""How large the package is that Lambda gets, and what of it.

python -m bench.package
"""

import argparse
import zipfile
from collections.abc import Mapping
from pathlib import Path

from bench import command
from bench.machine import machine
from bench.report import Column, Part
from bench.tabulate import tabulate
from nightshift.deploy import package

PROJECT = Path(__file__).parent.parent
COLUMNS = (Column(name="zipped", unit="MB", decimals=2), Column(name="unzipped", unit="MB", decimals=2))
OURS = ("app", "chalicelib")
# Parts of less are told together.
LEAST = 100_000


def main() -> None:
    """Build and print."""
    command.run(measure, __doc__, {})


def measure(_: argparse.Namespace) -> Part:
    """Build the package, and weigh it."""
    path = package.build(PROJECT)
    parts = weigh(path)
    large = {name: each for name, each in parts.items() if each["zipped"] * 1e6 >= LEAST}
    small = [each for name, each in parts.items() if name not in large]
    rows: dict[str, Mapping[str, float]] = {
        "the whole package": {
            "zipped": path.stat().st_size / 1e6,
            "unzipped": sum(each["unzipped"] for each in parts.values()),
        },
        **dict(sorted(large.items(), key=lambda item: -item[1]["zipped"])),
        f"{len(small)} others": {name: sum(each[name] for each in small) for name in ("zipped", "unzipped")},
    }
    table = tabulate("", COLUMNS, {name: [each] for name, each in rows.items()})
    return Part(about="As it is deployed, compiled.", machine=machine(), tables=(table,))


def weigh(path: Path) -> dict[str, dict[str, float]]:
    """Return the megabytes of each part of a package, ours together, as its archive has them."""
    parts: dict[str, dict[str, float]] = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            first = entry.filename.split("/")[0].split("-")[0].split(".")[0]
            part = parts.setdefault("Nightshift" if first in OURS else first, {"zipped": 0.0, "unzipped": 0.0})
            part["zipped"] += entry.compress_size / 1e6
            part["unzipped"] += entry.file_size / 1e6
    return parts


if __name__ == "__main__":
    main()
