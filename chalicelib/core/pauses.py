"""Pauses: the types of jobs and the tasks that an operator has stopped, and why. A deployment changes none."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, bindparam, delete, select, update

from chalicelib.core.clock import from_ms
from chalicelib.core.database import insert_missing
from chalicelib.schema import pauses

Kind = Literal["job", "task"]

# The name that stands for every task, and for jobs of every type.
ALL_TASKS = ALL_JOBS = "*"
# Made once: every batch of jobs asks.
_REASONS = select(pauses.c.name, pauses.c.reason).where(pauses.c.kind == bindparam("kind"))


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A task or a type of jobs, or by `*` every one, and why it is paused."""

    kind: Kind
    name: str
    reason: str
    paused_at: datetime

    @property
    def subject(self) -> str:
        """What is paused, as people say it."""
        return f"every {self.kind}" if self.name in {ALL_TASKS, ALL_JOBS} else self.name


def read(connection: Connection) -> tuple[Pause, ...]:
    """Return every pause, the oldest first."""
    rows = connection.execute(select(pauses).order_by(pauses.c.paused_at, pauses.c.kind, pauses.c.name))
    return tuple(
        Pause(kind=row.kind, name=row.name, reason=row.reason, paused_at=from_ms(row.paused_at)) for row in rows
    )


def of_task(found: Iterable[Pause], task: str) -> Pause | None:
    """Return what pauses a task: a pause of its own, or else that of every task."""
    by_name = {each.name: each for each in found if each.kind == "task"}
    return by_name.get(task) or by_name.get(ALL_TASKS)


def reasons(connection: Connection, kind: Kind) -> dict[str, str]:
    """Return by name why each is paused."""
    return {row.name: row.reason for row in connection.execute(_REASONS, {"kind": kind})}


def pause(connection: Connection, kind: Kind, name: str, *, reason: str, now_ms: int) -> None:
    """Stop one, or have what is stopped be so for this reason from now on."""
    told = {"reason": reason, "paused_at": now_ms}
    connection.execute(insert_missing(pauses, connection.dialect).values(kind=kind, name=name, **told))
    connection.execute(update(pauses).where(pauses.c.kind == kind, pauses.c.name == name).values(**told))


def resume(connection: Connection, kind: Kind, name: str) -> bool:
    """Let one go on, and return whether it was stopped."""
    lifted = delete(pauses).where(pauses.c.kind == kind, pauses.c.name == name)
    return connection.execute(lifted).rowcount > 0
