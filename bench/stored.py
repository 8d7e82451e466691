"""A report as JSON, with the ratios written out, and back again."""

import json
from pathlib import Path
from typing import Any

import msgspec

from bench.report import Part, Report, ratio_of

STORED = Path(__file__).parent.parent / "docs" / "bench.json"


def as_json(report: Report) -> str:
    """Return a report as JSON."""
    told = msgspec.to_builtins(report)
    for pass_ in ("parts", "again"):
        told[pass_] = {name: with_ratios(part) for name, part in getattr(report, pass_).items()}
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def with_ratios(part: Part) -> dict[str, Any]:
    """Return a part as JSON has it, each row with its ratios to two decimals or three digits."""
    told: dict[str, Any] = msgspec.to_builtins(part)
    for table, table_told in zip(part.tables, told["tables"], strict=True):
        for row, row_told in zip(table.rows, table_told["rows"], strict=True):
            found = {ratio.name: ratio_of(table, ratio, row) for ratio in table.ratios}
            row_told["ratios"] = {name: float(f"{value:.3g}") for name, value in found.items() if value is not None}
    return told


def read_report(path: Path) -> Report:
    """Return the report of a file. Raises ValueError where it is none."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.MsgspecError) as error:
        raise ValueError(f"{path} has no report of the bench, which make bench writes: {error}") from error


def read_part(text: str) -> Part:
    """Return the part that a process has printed. Raises ValueError where it is none."""
    try:
        return msgspec.json.decode(text, type=Part)
    except msgspec.MsgspecError as error:
        raise ValueError(f"it printed no result: {error}") from error
