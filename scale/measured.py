"""Figures that `make bench` has measured, as docs/bench.json has them."""

import os
from pathlib import Path

from bench.report import find
from bench.stored import STORED, read_report

# A bench under way names the file of what it has measured so far.
_REPORT = read_report(Path(os.environ.get("MEASURED", STORED)))


def measured(part: str, row: str | None, column: str, *, table: int = 0) -> float:
    """Return a median of a part's table, by its row, None for the last. Raises ValueError where there is none."""
    return find(_REPORT, part, row, column, table=table)
