"""Dispatch: puts the jobs that are due and undelivered on their queues, and clears away what is over."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, false, select, update

from chalicelib.core.attempt import attempt
from chalicelib.core.clock import Clock
from chalicelib.core.context import Context
from chalicelib.core.database import Database
from chalicelib.core.errors import InvalidRequestError, RunFailedError
from chalicelib.core.outcome import Counts
from chalicelib.core.pauses import ALL_JOBS
from chalicelib.core.redaction import redact
from chalicelib.core.telemetry import bound, report
from chalicelib.queue.backlogs import Backlog, find_backlogs, lock_due
from chalicelib.queue.claims import paused_types
from chalicelib.queue.job import OVER, TAKEN, Status, raw_body, read_row
from chalicelib.queue.message import Message
from chalicelib.queue.queues import Queues
from chalicelib.queue.rows import OUTGOING
from chalicelib.queue.work_queue import BATCH
from chalicelib.schema import jobs

# It comes every minute: what falls due before the next time is sent now, with a delay that SQS keeps to the second.
LOOKAHEAD_MS = 90_000
# A message that nobody has taken for this long is believed lost; should it be waiting still, its copy does nothing.
LOST_AFTER_MS = 6 * 3_600_000
PRUNE_CHUNK = 1000
PRUNED = (Status.COMPLETED, Status.CANCELLED, Status.EXPIRED)


def dispatch(context: Context) -> dict[str, Any]:
    """Put what is due on its queue, clear away what is over, and return the summary; several may do so at once.

    Raises RunFailedError, so that Lambda's alarms see it; whatever is still due is sent a minute later.
    """
    with bound(request_id=context.request_id):
        ended = attempt(lambda: _dispatch(context), clock=context.clock, last=False)
        summary = report("run", "dispatch", ended)
    if ended.outcome.is_failure:
        raise RunFailedError(redact(f"dispatch failed: {ended.error_message}"), outcome=ended.outcome) from ended.error
    return summary


def _dispatch(context: Context) -> Counts:
    """Send until nothing is due or time runs short, and prune.

    Counts are jobs: succeeded were sent or pruned, skipped were over or had expired, failed can be made no message
    and are dead.
    """
    counts = send_backlogs(context.database, context.queues, clock=context.clock, is_out_of_time=context.is_out_of_time)
    retention_ms = 86_400_000 * context.settings.jobs_retention_days
    while not context.is_out_of_time():
        pruned = _prune(context.database, before_ms=context.clock.now_ms() - retention_ms)
        counts += Counts(total=pruned, succeeded=pruned)
        if pruned < PRUNE_CHUNK:
            break
    return counts


def send_backlogs(
    database: Database, queues: Queues, *, clock: Clock, is_out_of_time: Callable[[], bool] = lambda: False
) -> Counts:
    """Put every job that is due on its queue, ten at a time: those of the priority queue first, then types in turn.

    Jobs of a type that comes up meanwhile are sent by the next dispatch. Counts and errors as of `send_due`.
    """
    counts = Counts()
    backlogs: Sequence[Backlog] = database.autocommit(find_backlogs)
    while backlogs and not is_out_of_time():

        def work(connection: Connection, backlogs: Sequence[Backlog] = backlogs) -> tuple[Counts, Sequence[Backlog]]:
            now_ms = clock.now_ms()
            rows, following = lock_due(connection, backlogs, until_ms=now_ms + LOOKAHEAD_MS, most=BATCH)
            return _send(connection, rows, queues, now_ms=now_ms), following

        sent, backlogs = database.transact(work)
        counts += sent
    return counts


def send_due(database: Database, queues: Queues, *, clock: Clock, only: Collection[str]) -> Counts:
    """Put those of up to ten jobs, by id, that are due on their queues.

    Counts are jobs: succeeded were sent, skipped were over or had expired, failed can be made no message and are
    dead. Raises TransientError when SQS refuses; then they are still due. The rows are locked while SQS is called,
    so that nobody else sends them; a kill in between sends them once more, which the worker's claim makes harmless.
    """

    def work(connection: Connection) -> Counts:
        now_ms = clock.now_ms()
        return _send(connection, _lock(connection, only, now_ms=now_ms), queues, now_ms=now_ms)

    return database.transact(work)


def _lock(connection: Connection, ids: Collection[str], *, now_ms: int) -> Sequence[Any]:
    query = select(*OUTGOING).where(jobs.c.id.in_(list(ids)), jobs.c.dispatch_at <= now_ms + LOOKAHEAD_MS)
    if paused := paused_types(connection):
        query = query.where(false() if ALL_JOBS in paused else jobs.c.type.not_in(sorted(paused)))
    return connection.execute(query.order_by(jobs.c.dispatch_at).with_for_update(skip_locked=True)).all()


def _send(connection: Connection, rows: Sequence[Any], queues: Queues, *, now_ms: int) -> Counts:
    # Whoever closed one by hand need not know of dispatch_at.
    closed = {row.id for row in rows if row.status in OVER}
    expired = {row.id for row in rows if _is_expired(row, now_ms=now_ms)} - closed
    _end(connection, closed, now_ms=now_ms)
    _end(connection, expired, now_ms=now_ms, status=Status.EXPIRED.value)
    counts = Counts(total=len(rows), skipped=len(closed | expired))
    outgoing: dict[str, list[tuple[Any, Message]]] = {}
    for row in rows:
        if row.id not in closed | expired:
            try:
                message = read_row(row)
            except InvalidRequestError as error:
                queues.dead_letters.bury(raw_body(row), job_id=row.id, error=error)
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
    # What a worker has begun in time may end.
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
