"""Pauses: the tasks and the types of jobs that an operator has stopped."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, select

from chalicelib.claims import ALL_TASKS
from chalicelib.clock import from_ms
from chalicelib.schema import pauses
from chalicelib.telemetry import redact


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A task, or by `*` every one, or a type of jobs, and why it is paused."""

    kind: Literal["task", "job"]
    name: str
    reason: str
    paused_at: datetime


def read_pauses(connection: Connection) -> tuple[Pause, ...]:
    """Return every pause, the oldest first."""
    rows = connection.execute(select(pauses).order_by(pauses.c.paused_at, pauses.c.kind, pauses.c.name))
    return tuple(
        Pause(kind=row.kind, name=row.name, reason=redact(row.reason), paused_at=from_ms(row.paused_at)) for row in rows
    )


def of_task(pauses: Iterable[Pause], task: str) -> Pause | None:
    """Return what pauses a task: a pause of its own, or else that of every task."""
    found = {pause.name: pause for pause in pauses if pause.kind == "task"}
    return found.get(task) or found.get(ALL_TASKS)
