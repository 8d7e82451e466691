"""Dispatch: sends the jobs that are due to their queues, and deletes those that are over.

Jobs are read by queue and type, so that dispatch never reads past jobs that are paused. Each read is a seek in the
index (`queue`, `type`, `dispatch_at`): no cost depends on how many jobs are paused, over, or not yet due.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, false, select, update

from chalicelib.core import pauses
from chalicelib.core.attempt import attempt, attempt_and_report
from chalicelib.core.clock import Clock
from chalicelib.core.config import QueueSettings
from chalicelib.core.context import Context
from chalicelib.core.database import Database, distinct_values
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.outcome import Counts
from chalicelib.queue import breaker
from chalicelib.queue.claim import paused_types
from chalicelib.queue.handler import find_handler
from chalicelib.queue.job import OUTGOING, OVER, TAKEN, Status, dead_letter_body, message_of
from chalicelib.queue.message import Message
from chalicelib.queue.services import queues
from chalicelib.queue.sqs import BATCH, Queues
from chalicelib.schema import jobs

# Dispatch runs every minute: what falls due before its next run is sent now, with a delay that SQS keeps to the second.
LOOKAHEAD_MS = 90_000
# A message that no worker received for this long counts as lost; if it is still waiting, its copy has no effect.
LOST_AFTER_MS = 6 * 3_600_000
PRUNE_CHUNK = 1000
PRUNED = (Status.COMPLETED, Status.CANCELLED, Status.EXPIRED)
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
        """Whether its jobs are sent before those of every other queue."""
        return self.queue == PRIORITY


def dispatch(context: Context) -> dict[str, Any]:
    """Send what is due, delete what is over, and return the summary; several dispatches may run at once.

    Raises RunFailedError, so that Lambda's alarms see it; what is still due is sent a minute later.
    """
    return attempt_and_report(context, "dispatch", lambda: _dispatch(context))


def _dispatch(context: Context) -> Counts:
    """Send until nothing is due or time runs short, and prune.

    Counts are jobs: succeeded were sent or pruned, skipped were over or had expired, failed are not valid messages
    and are dead.
    """

    def breaker_of(type_: str) -> str | None:
        found = attempt(lambda: find_handler(context, type_), clock=context.clock, last=False).value
        return found.breaker if found else None

    counts = send_backlogs(
        context.database,
        queues(context),
        clock=context.clock,
        breaker_of=breaker_of,
        is_out_of_time=context.is_out_of_time,
    )
    retention_ms = 86_400_000 * context.settings(QueueSettings).jobs_retention_days
    while not context.is_out_of_time():
        pruned = _prune(context.database, before_ms=context.clock.now_ms() - retention_ms)
        counts += Counts(total=pruned, succeeded=pruned)
        if pruned < PRUNE_CHUNK:
            break
    return counts


def send_backlogs(
    database: Database,
    queues: Queues,
    *,
    clock: Clock,
    breaker_of: Callable[[str], str | None],
    is_out_of_time: Callable[[], bool] = lambda: False,
) -> Counts:
    """Send every job that is due, ten at a time: those of the priority queue first, then types in turn.

    Of the types whose breaker, by `breaker_of`, is open, one job is sent where one may be tried. The next dispatch
    sends jobs of a type that appears meanwhile. Counts and errors as of `send_due`.
    """
    backlogs: Sequence[Backlog] = database.autocommit(_find_backlogs)
    failing = {name: each for name, each in database.autocommit(breaker.read).items() if each.is_open}
    held: dict[str, list[Backlog]] = {}
    for backlog in backlogs if failing else ():
        if (name := breaker_of(backlog.type)) in failing:
            held.setdefault(str(name), []).append(backlog)
    counts = Counts()
    for name, waiting in held.items():
        backlogs = [each for each in backlogs if each not in waiting]
        if failing[name].admits(clock.now_ms()):

            def probe(connection: Connection, waiting: Sequence[Backlog] = waiting) -> Counts:
                now_ms = clock.now_ms()
                rows, _ = _lock_due(connection, waiting, until_ms=now_ms, most=1)
                return _send(connection, rows, queues, now_ms=now_ms)

            counts += database.transact(probe)
    while backlogs and not is_out_of_time():

        def work(connection: Connection, backlogs: Sequence[Backlog] = backlogs) -> tuple[Counts, Sequence[Backlog]]:
            now_ms = clock.now_ms()
            rows, following = _lock_due(connection, backlogs, until_ms=now_ms + LOOKAHEAD_MS, most=BATCH)
            return _send(connection, rows, queues, now_ms=now_ms), following

        sent, backlogs = database.transact(work)
        counts += sent
    return counts


def send_due(database: Database, queues: Queues, *, clock: Clock, only: Collection[str]) -> Counts:
    """Send those of up to ten jobs, by id, that are due.

    Counts are jobs: succeeded were sent, skipped were over or had expired, failed are not valid messages and are
    dead. Raises TransientError when SQS refuses; then they are still due. The rows are locked while SQS is called,
    so that they are sent once; a kill in between sends them again, which the worker's claim makes harmless.
    """

    def work(connection: Connection) -> Counts:
        now_ms = clock.now_ms()
        return _send(connection, _lock_ids(connection, only, now_ms=now_ms), queues, now_ms=now_ms)

    return database.transact(work)


def _lock_ids(connection: Connection, ids: Collection[str], *, now_ms: int) -> Sequence[Any]:
    query = select(*OUTGOING).where(jobs.c.id.in_(list(ids)), jobs.c.dispatch_at <= now_ms + LOOKAHEAD_MS)
    if paused := paused_types(connection):
        query = query.where(false() if pauses.ALL in paused else jobs.c.type.not_in(sorted(paused)))
    return connection.execute(query.order_by(jobs.c.dispatch_at).with_for_update(skip_locked=True)).all()


def _send(connection: Connection, rows: Sequence[Any], queues: Queues, *, now_ms: int) -> Counts:
    # A row that was closed by hand may still have its dispatch_at.
    closed = {row.id for row in rows if row.status in OVER}
    expired = {row.id for row in rows if _is_expired(row, now_ms=now_ms)} - closed
    _end(connection, closed, now_ms=now_ms)
    _end(connection, expired, now_ms=now_ms, status=Status.EXPIRED.value)
    counts = Counts(total=len(rows), skipped=len(closed | expired))
    outgoing: dict[str, list[tuple[Any, Message]]] = {}
    for row in rows:
        if row.id not in closed | expired:
            try:
                message = message_of(row)
            except InvalidRequestError as error:
                queues.dead_letters.send(dead_letter_body(row), job_id=row.id, error=error)
                _end(connection, [row.id], now_ms=now_ms, status=Status.DEAD.value, last_error=str(error))
                counts += Counts(failed=1)
            else:
                outgoing.setdefault(row.queue, []).append((row, message))
    for name, pairs in outgoing.items():
        delays = [row.dispatch_at - now_ms for row, _ in pairs]
        queues.named(name).send([message for _, message in pairs], delays_ms=delays)
        for row, _ in pairs:
            again_ms = max(row.dispatch_at, now_ms) + LOST_AFTER_MS
            connection.execute(update(jobs).where(jobs.c.id == row.id).values(dispatch_at=again_ms))
        counts += Counts(succeeded=len(pairs))
    return counts


def _is_expired(row: Any, *, now_ms: int) -> bool:
    # A job that a worker began in time may end.
    is_held = row.status in TAKEN and row.lease_until > now_ms
    return row.expires_at is not None and row.expires_at <= now_ms and not is_held


def _end(connection: Connection, ids: Collection[str], *, now_ms: int, **values: Any) -> None:
    if ids:
        over = update(jobs).where(jobs.c.id.in_(list(ids)))
        connection.execute(over.values(ended_at=now_ms, dispatch_at=None, **values))


def _prune(database: Database, *, before_ms: int) -> int:
    old = and_(jobs.c.status.in_(PRUNED), jobs.c.ended_at < before_ms)
    ids = select(jobs.c.id).where(old).limit(PRUNE_CHUNK).with_for_update(skip_locked=True)

    def work(connection: Connection) -> int:
        found = list(connection.execute(ids).scalars())
        connection.execute(delete(jobs).where(jobs.c.id.in_(found)))
        return len(found)

    return database.transact(work)


def _find_backlogs(connection: Connection) -> list[Backlog]:
    """Return the backlogs of all jobs in the table, due or not, the urgent ones first."""
    found = [
        Backlog(queue=queue, type=type_)
        for queue in distinct_values(connection, jobs.c.queue)
        for type_ in distinct_values(connection, jobs.c.type, jobs.c.queue == queue)
    ]
    return sorted(found, key=lambda backlog: not backlog.is_urgent)


def _lock_due(
    connection: Connection, backlogs: Sequence[Backlog], *, until_ms: int, most: int
) -> tuple[list[Any], Sequence[Backlog]]:
    """Lock and return up to `most` rows that are due by then, and the backlogs to read next, in order.

    A backlog without further rows is left out of that order. The one that filled the batch goes to its end, so that
    types take turns, unless it is urgent. Rows that another dispatch has locked, and paused types, are skipped.
    """
    # A case-insensitive collation compares NOTE equal to a paused note.
    paused = {name.casefold() for name in paused_types(connection)}
    rows: list[Any] = []
    for n, backlog in enumerate(backlogs):
        if not paused.isdisjoint({pauses.ALL, backlog.type.casefold()}):
            continue
        wanted = {"queue": backlog.queue, "type": backlog.type, "until_ms": until_ms, "most": most - len(rows)}
        rows += connection.execute(_DUE, wanted)
        if len(rows) == most:
            # New urgent jobs may arrive meanwhile: look for them before each batch.
            urgent = [each for each in backlogs if each.is_urgent]
            others = [each for each in backlogs[n + 1 :] if not each.is_urgent]
            return rows, [*urgent, *others, *([] if backlog.is_urgent else [backlog])]
    return rows, []
