"""Schedules as a terminal shows them: when tasks are due, what became of them, and whether they are paused."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from nightshift.terminal import plain, table

COLUMNS = ("task", "cron", "zone", "last run", "outcome", "in words, and the next fires")


def lines(tasks: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of what `schedule.list` answers."""
    return table(COLUMNS, [_row(task) for task in tasks])


def tell_when(told: Mapping[str, Any]) -> list[str]:
    """Return a schedule as it is described in words, and its fires, a line each."""
    words = f"{told['words']}, {told['zone']}" if told["zone"] else f"{told['words']}, from its deployment on"
    return [plain(words), *(_fire(fire) for fire in told["next"])]


def _row(task: Mapping[str, Any]) -> tuple[list[object], list[str]]:
    latest, paused = task["latest"] or {}, task["paused"]
    parts = [f"paused since {paused['at']}: {paused['reason']}"] if paused else []
    parts += [latest["error"]] if latest.get("error") else []
    parts += [task["words"], *(_fire(fire) for fire in task["next"])]
    cron = task["cron"] or task["schedule"]
    return [task["task"], cron, task["zone"], latest.get("scheduled_for"), latest.get("status")], parts


def _fire(fire: Mapping[str, str]) -> str:
    local = datetime.fromisoformat(fire["local"])
    told = f"{local:%a %Y-%m-%d %H:%M}"
    return f"{told} UTC" if not local.utcoffset() else f"{told} ({local:%z} = {fire['at']})"
