"""A part of the demo: the runs that it made, and what it has to tell of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from nightshift.local.invocation import invoke, scheduled_event

COUNTS = ("succeeded", "skipped", "failed")


@dataclass(frozen=True, kw_only=True)
class Part:
    """Summaries of runs, as functions return them, and lines and tables that say where the results lie."""

    summaries: Sequence[Mapping[str, Any]]
    told: Sequence[RenderableType]


def fire(task: str, moment: datetime) -> dict[str, Any]:
    """Fire a task as EventBridge does at this moment, and return its summary. Raises RunFailedError."""
    summary: dict[str, Any] = invoke(task, scheduled_event(moment))
    return summary


def overview(parts: Sequence[Part]) -> Table:
    """Return the table of all runs."""
    table = columns("task", "fire", "outcome", *COUNTS, "seconds", numbers=(*COUNTS, "seconds"))
    for summary in (summary for part in parts for summary in part.summaries):
        counts = [str(summary[name]) for name in COUNTS]
        seconds = f"{summary['duration_ms'] / 1000:.1f}"
        table.add_row(summary["task"], _moment(summary), summary["outcome"], *counts, seconds)
    return table


def columns(*names: str, numbers: Sequence[str]) -> Table:
    """Return an empty table as the demo has them, numbers to the right."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in names:
        table.add_column(name, justify="right" if name in numbers else "left")
    return table


def _moment(summary: Mapping[str, Any]) -> str:
    # What a topic delivers has none.
    if "scheduled_for" not in summary:
        return ""
    moment = datetime.fromisoformat(summary["scheduled_for"])
    return f"{moment.day} {moment:%b %H:%M}"
