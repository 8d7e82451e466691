"""Pauses: the types of jobs and the tasks that an operator has paused, and why. A deployment changes none."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, bindparam, delete, select, update

from chalicelib.core.clock import from_ms
from chalicelib.core.database import insert_missing
from chalicelib.schema import pauses

Kind = Literal["job", "task"]

# The name for all tasks, and for jobs of all types.
ALL = "*"
# Built once: every batch of jobs executes it.
_REASONS = select(pauses.c.name, pauses.c.reason).where(pauses.c.kind == bindparam("kind"))


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A task, a type of jobs, or `*` for all, and why it is paused."""

    kind: Kind
    name: str
    reason: str
    paused_at: datetime

    @property
    def subject(self) -> str:
        """What is paused, in words."""
        return f"every {self.kind}" if self.name == ALL else self.name


def read(connection: Connection) -> tuple[Pause, ...]:
    """Return all pauses, oldest first."""
    rows = connection.execute(select(pauses).order_by(pauses.c.paused_at, pauses.c.kind, pauses.c.name))
    return tuple(
        Pause(kind=row.kind, name=row.name, reason=row.reason, paused_at=from_ms(row.paused_at)) for row in rows
    )


def of_task(found: Iterable[Pause], task: str) -> Pause | None:
    """Return the pause of a task: its own, or else that of all tasks."""
    by_name = {each.name: each for each in found if each.kind == "task"}
    return by_name.get(task) or by_name.get(ALL)


def reasons(connection: Connection, kind: Kind) -> dict[str, str]:
    """Return the reason of each pause of a kind, by name."""
    return {row.name: row.reason for row in connection.execute(_REASONS, {"kind": kind})}


def pause(connection: Connection, kind: Kind, name: str, *, reason: str, now_ms: int) -> None:
    """Pause a task or a type of jobs; if it is paused already, change the reason."""
    values = {"reason": reason, "paused_at": now_ms}
    connection.execute(insert_missing(pauses, connection.dialect).values(kind=kind, name=name, **values))
    connection.execute(update(pauses).where(pauses.c.kind == kind, pauses.c.name == name).values(**values))


def resume(connection: Connection, kind: Kind, name: str) -> bool:
    """Resume a task or a type of jobs, and return whether it was paused."""
    lifted = delete(pauses).where(pauses.c.kind == kind, pauses.c.name == name)
    return connection.execute(lifted).rowcount > 0
