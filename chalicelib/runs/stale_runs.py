"""Lapses: runs that began and nobody goes on with are taken up, and given up when that has not helped for a day."""

import json
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, or_, select, update

from chalicelib.core.attempt import Attempt
from chalicelib.core.clock import Clock, from_ms, iso
from chalicelib.core.context import Context
from chalicelib.core.errors import PermanentError
from chalicelib.core.outcome import Counts, Outcome
from chalicelib.core.telemetry import bound, logger, report, trace_of
from chalicelib.queue import outbox
from chalicelib.queue.outbox import NewJob
from chalicelib.runs import pings
from chalicelib.runs.fire import Fire
from chalicelib.runs.pings import Ping
from chalicelib.schema import runs

# A run that was handed on, or that Lambda repeats, is taken up sooner by whoever has it.
LAPSED_AFTER = timedelta(minutes=15)
# A run that ends its process each time would go on for ever otherwise.
GIVEN_UP_AFTER = timedelta(days=1)
# A run that lapsed so long ago did so while nobody watched.
UNWATCHED_AFTER = timedelta(hours=1)
MOST_AT_ONCE = 100
MILLISECOND = timedelta(milliseconds=1)


def take_up(context: Context) -> Counts:
    """Have the runs continued that nobody goes on with, once for each attempt; give up those that began a day ago.

    Counts are runs: succeeded are taken up, failed given up.
    """
    taken_up, given_up = context.database.transact(lambda connection: _take_up(connection, context.clock))
    for row in taken_up:
        logger.warning("run taken up", extra={"task": row.task, "run_id": row.id, "trace_id": trace_of(row.id).id})
    is_told = True
    for row in given_up:
        error = PermanentError(_reason(row))
        fields = {"scheduled_for": iso(from_ms(row.scheduled_for)), "trigger": row.trigger, "attempt": row.attempt}
        with bound(run_id=row.id, trace_id=trace_of(row.id).id, **fields):
            report("run", row.task, Attempt(outcome=Outcome.DEAD, duration_ms=0, value=None, error=error))
            # Where one does not answer, the watch does not wait for a hundred.
            is_told = is_told and _tell(context, row, error)
    total = len(taken_up) + len(given_up)
    return Counts(total=total, succeeded=len(taken_up), failed=len(given_up))


def _tell(context: Context, row: Row[Any], error: PermanentError) -> bool:
    sentence = f"{row.task} {Outcome.DEAD}: {error}"
    ping = Ping(signal="fail", task=row.task, run_id=row.id, attempt=row.attempt, sentence=sentence)
    return pings.send(context, ping)


def _take_up(connection: Connection, clock: Clock) -> tuple[list[Row[Any]], list[Row[Any]]]:
    """Return the runs that are taken up, and those that are given up."""
    now_ms = clock.now_ms()
    before_ms = now_ms - LAPSED_AFTER // MILLISECOND
    lapsed = or_(
        and_(runs.c.status == "running", runs.c.lease_until < before_ms),
        # What failed by itself; a person has been told, and asks again.
        and_(runs.c.status == Outcome.FAILED.value, runs.c.trigger != "manual", runs.c.finished_at < before_ms),
    )
    query = select(runs).where(lapsed).order_by(runs.c.started_at).limit(MOST_AT_ONCE)
    # Locked, or whoever takes one up now could find it given up.
    rows = connection.execute(query.with_for_update()).all()
    is_old = {row.id: row.started_at < now_ms - GIVEN_UP_AFTER // MILLISECOND for row in rows}
    pairs = [(row, _job(row)) for row in rows if not is_old[row.id] or _is_unwatched(row, now_ms)]
    ids = outbox.enqueue_many(connection, [job for _, job in pairs], clock=clock)
    # The others have their job since an earlier time.
    taken_up = [row for (row, job), id_ in zip(pairs, ids, strict=True) if job.id == id_]
    given_up = [row for row in rows if is_old[row.id] and row not in taken_up]
    for row in given_up:
        dead = {"status": Outcome.DEAD.value, "finished_at": now_ms, "lease_until": 0, "error": _reason(row)}
        connection.execute(update(runs).where(runs.c.id == row.id).values(**dead))
    return taken_up, given_up


def _is_unwatched(row: Row[Any], now_ms: int) -> bool:
    """Return whether the attempt came to its end so long ago that a watch would have seen to it."""
    ended_ms: int = row.lease_until if row.status == "running" else row.finished_at
    return ended_ms < now_ms - UNWATCHED_AFTER // MILLISECOND


def _job(row: Row[Any]) -> NewJob:
    fire = Fire(
        scheduled_for=from_ms(row.scheduled_for),
        trigger=row.trigger,
        dry_run=False,
        options=json.loads(row.options) if row.options else {},
    )
    # Once for each attempt: while its message is on the way, the run looks lapsed still.
    key = f"take up {row.id} {row.attempt}"
    trace = str(trace_of(row.id))
    return NewJob(type="continue_run", data=fire.to_continue(row.task), idempotency_key=key, traceparent=trace)


def _reason(row: Row[Any]) -> str:
    return f"it was not over a day after it began: {row.error or 'each time, its process ended'}"
