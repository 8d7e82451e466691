"""Backlogs: the jobs of one queue and type, so that dispatch never reads past jobs that are paused.

Everything here is a seek in the index (`queue`, `type`, `dispatch_at`). No cost depends on how many jobs are paused,
over, or not yet due.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select

from chalicelib.core.database import distinct_values
from chalicelib.core.pauses import ALL_JOBS
from chalicelib.queue.claims import paused_types
from chalicelib.queue.rows import OUTGOING
from chalicelib.schema import jobs

PRIORITY = "priority"

# Built once: SQLAlchemy takes longer to build it than the database to execute it.
_DUE = (
    select(*OUTGOING)
    .where(
        jobs.c.queue == bindparam("queue"),
        jobs.c.type == bindparam("type"),
        jobs.c.dispatch_at <= bindparam("until_ms"),
    )
    .order_by(jobs.c.dispatch_at)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """The jobs of one type on one queue."""

    queue: str
    type: str

    @property
    def is_urgent(self) -> bool:
        """Whether its jobs go before those of every other queue."""
        return self.queue == PRIORITY


def find_backlogs(connection: Connection) -> list[Backlog]:
    """Return the backlogs of all jobs that the table holds, due or not, the urgent ones first."""
    found = [
        Backlog(queue=queue, type=type_)
        for queue in distinct_values(connection, jobs.c.queue)
        for type_ in distinct_values(connection, jobs.c.type, jobs.c.queue == queue)
    ]
    return sorted(found, key=lambda backlog: not backlog.is_urgent)


def lock_due(
    connection: Connection, backlogs: Sequence[Backlog], *, until_ms: int, most: int
) -> tuple[list[Any], Sequence[Backlog]]:
    """Lock and return up to `most` rows that are due by then, and the order in which to look for the next ones.

    A backlog that gave all it has is left out of that order. The one that filled the batch goes to its end, so that
    types take turns, unless it is urgent. Rows that another dispatch has locked, and types that are paused, are
    skipped.
    """
    # A collation may find NOTE where note is paused.
    paused = {name.casefold() for name in paused_types(connection)}
    rows: list[Any] = []
    for n, backlog in enumerate(backlogs):
        if not paused.isdisjoint({ALL_JOBS, backlog.type.casefold()}):
            continue
        wanted = {"queue": backlog.queue, "type": backlog.type, "until_ms": until_ms, "most": most - len(rows)}
        rows += connection.execute(_DUE, wanted)
        if len(rows) == most:
            # New urgent jobs may arrive while this goes on: look for them before each batch.
            urgent = [each for each in backlogs if each.is_urgent]
            others = [each for each in backlogs[n + 1 :] if not each.is_urgent]
            return rows, [*urgent, *others, *([] if backlog.is_urgent else [backlog])]
    return rows, []
