"""The queue: how many jobs wait and for how long, and the dead ones."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, case, func, or_, select, true

from chalicelib.core import pauses
from chalicelib.core.clock import from_ms, to_ms
from chalicelib.core.redaction import redact
from chalicelib.queue import breaker
from chalicelib.queue.job import TAKEN, WAITING, Status
from chalicelib.schema import jobs

QUEUES = ("work", "priority")
MOST_DEAD, LONGEST_ERROR = 20, 1000


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How many jobs of a queue are due, due but paused, in progress, due later, and dead.

    `oldest_due_at` is when the oldest of the waiting jobs became due.
    """

    queue: str
    waiting: int = 0
    held_back: int = 0
    in_work: int = 0
    later: int = 0
    dead: int = 0
    oldest_due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class DeadJob:
    """A dead job, with its last error."""

    id: str
    type: str
    queue: str
    attempts: int
    ended_at: datetime | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Unavailable:
    """Whoever performs jobs and has been unavailable since then, by the setting of its address; the jobs wait."""

    name: str
    since: datetime
    reason: str


@dataclass(frozen=True, kw_only=True)
class QueueStatus:
    """The depth of each queue, the latest dead jobs, and who is unavailable."""

    depths: tuple[Depth, ...]
    dead: tuple[DeadJob, ...]
    unavailable: tuple[Unavailable, ...] = ()

    @property
    def dead_count(self) -> int:
        """The number of dead jobs."""
        return sum(depth.dead for depth in self.depths)


def read_queue(connection: Connection, paused: Collection[str], *, now: datetime) -> QueueStatus:
    """Return the status of the queue; `paused` are the paused types of jobs, or `*` for all."""
    now_ms = to_ms(now)
    is_later = or_(jobs.c.due_at > now_ms, func.coalesce(jobs.c.slot_at, 0) > now_ms)
    stands = case(
        (jobs.c.status == Status.DEAD.value, "dead"),
        (jobs.c.status.in_(TAKEN), "in_work"),
        (is_later, "later"),
        (true() if pauses.ALL in paused else jobs.c.type.in_(list(paused)), "held_back"),
        else_="waiting",
    ).label("stands")
    due = case((jobs.c.due_at > jobs.c.created_at, jobs.c.due_at), else_=jobs.c.created_at)
    counted = (
        select(jobs.c.queue, stands, func.count().label("number"), func.min(due).label("oldest"))
        .where(jobs.c.status.in_([*WAITING, *TAKEN, Status.DEAD]))
        .group_by(jobs.c.queue, stands)
    )
    rows = connection.execute(counted).all()
    names = [*QUEUES, *sorted({row.queue for row in rows} - {*QUEUES})]
    # Without their data, which may be long.
    columns = [jobs.c[name] for name in ("id", "type", "queue", "attempts", "ended_at", "last_error")]
    latest = (
        select(*columns).where(jobs.c.status == Status.DEAD.value).order_by(jobs.c.ended_at.desc(), jobs.c.id.desc())
    )
    dead = tuple(_dead(row) for row in connection.execute(latest.limit(MOST_DEAD)))
    unavailable = tuple(
        Unavailable(name=name, since=from_ms(each.failing_since), reason=redact(each.reason))
        for name, each in breaker.read(connection).items()
        if each.is_open
    )
    return QueueStatus(depths=tuple(_depth(name, rows) for name in names), dead=dead, unavailable=unavailable)


def _depth(name: str, rows: Collection[Any]) -> Depth:
    here = [row for row in rows if row.queue == name]
    oldest = next((row.oldest for row in here if row.stands == "waiting"), None)
    return Depth(queue=name, oldest_due_at=_moment(oldest), **{row.stands: row.number for row in here})


def _dead(row: Any) -> DeadJob:
    return DeadJob(
        id=row.id,
        type=row.type,
        queue=row.queue,
        attempts=row.attempts,
        ended_at=_moment(row.ended_at),
        error=None if row.last_error is None else redact(row.last_error)[:LONGEST_ERROR],
    )


def _moment(ms: int | None) -> datetime | None:
    try:
        return None if ms is None else from_ms(ms)
    except (ValueError, OverflowError, OSError):
        # Other services insert rows too, perhaps in another unit.
        return None
