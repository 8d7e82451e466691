"""A section of the demo's output: its runs, and lines and tables about their results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from nightshift.local.invocation import invoke, scheduled_event

COUNTS = ("succeeded", "skipped", "failed")


@dataclass(frozen=True, kw_only=True)
class Section:
    """The summaries of runs, and the lines and tables to print."""

    summaries: Sequence[Mapping[str, Any]]
    lines: Sequence[RenderableType]


def fire(task: str, moment: datetime) -> dict[str, Any]:
    """Fire a task as EventBridge does at this time, and return its summary. Raises RunFailedError."""
    summary: dict[str, Any] = invoke(task, scheduled_event(moment))
    return summary


def overview(sections: Sequence[Section]) -> Table:
    """Return a table of all runs."""
    table = columns("task", "fire", "outcome", *COUNTS, "seconds", numbers=(*COUNTS, "seconds"))
    for summary in (summary for section in sections for summary in section.summaries):
        counts = [str(summary[name]) for name in COUNTS]
        seconds = f"{summary['duration_ms'] / 1000:.1f}"
        table.add_row(summary["task"], _moment(summary), summary["outcome"], *counts, seconds)
    return table


def columns(*names: str, numbers: Sequence[str]) -> Table:
    """Return an empty table, with numbers aligned to the right."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in names:
        table.add_column(name, justify="right" if name in numbers else "left")
    return table


def _moment(summary: Mapping[str, Any]) -> str:
    # Messages of a topic have no scheduled time.
    if "scheduled_for" not in summary:
        return ""
    moment = datetime.fromisoformat(summary["scheduled_for"])
    return f"{moment.day} {moment:%b %H:%M}"
