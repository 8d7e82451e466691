"""Stale runs began and are not being continued: the watch rescues them, and gives up those that began a day ago."""

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
from chalicelib.queue.job import Job
from chalicelib.runs import pings
from chalicelib.runs.fire import Fire
from chalicelib.runs.pings import Ping
from chalicelib.schema import runs

# Later than a continuation's message or Lambda's own retries.
STALE_AFTER = timedelta(minutes=15)
# Otherwise a run that kills its process each time would never end.
GIVEN_UP_AFTER = timedelta(days=1)
# A run that has been stale for longer became so while no watch was running.
UNWATCHED_AFTER = timedelta(hours=1)
MOST_AT_ONCE = 100
MILLISECOND = timedelta(milliseconds=1)


def rescue_stale_runs(context: Context) -> Counts:
    """Enqueue a continuation of each stale run, once for each attempt; give up those that began a day ago.

    Counts are runs: succeeded are rescued, failed given up.
    """
    rescued, given_up = context.database.transact(lambda connection: _rescue(connection, context.clock))
    for row in rescued:
        logger.warning("run rescued", extra={"task": row.task, "run_id": row.id, "trace_id": trace_of(row.id).id})
    answers = True
    for row in given_up:
        error = PermanentError(_reason(row))
        fields = {"scheduled_for": iso(from_ms(row.scheduled_for)), "trigger": row.trigger, "attempt": row.attempt}
        with bound(run_id=row.id, trace_id=trace_of(row.id).id, **fields):
            report("run", row.task, Attempt(outcome=Outcome.DEAD, duration_ms=0, value=None, error=error))
            if answers:
                # After one unanswered ping, do not wait for the others' time-outs.
                sentence = f"{row.task} {Outcome.DEAD}: {error}"
                ping = Ping(signal="fail", task=row.task, run_id=row.id, attempt=row.attempt, sentence=sentence)
                answers = pings.send(context, ping)
    total = len(rescued) + len(given_up)
    return Counts(total=total, succeeded=len(rescued), failed=len(given_up))


def _rescue(connection: Connection, clock: Clock) -> tuple[list[Row[Any]], list[Row[Any]]]:
    """Return the runs that are rescued, and those that are given up."""
    now_ms = clock.now_ms()
    before_ms = now_ms - STALE_AFTER // MILLISECOND
    is_stale = or_(
        and_(runs.c.status == "running", runs.c.lease_until < before_ms),
        # A person who started a manual run saw it fail and can start it again.
        and_(runs.c.status == Outcome.FAILED.value, runs.c.trigger != "manual", runs.c.finished_at < before_ms),
    )
    query = select(runs).where(is_stale).order_by(runs.c.started_at).limit(MOST_AT_ONCE)
    # Locked, so that no attempt claims a run while it is given up.
    rows = connection.execute(query.with_for_update()).all()
    is_old = {row.id: row.started_at < now_ms - GIVEN_UP_AFTER // MILLISECOND for row in rows}
    pairs = [(row, _job(row)) for row in rows if not is_old[row.id] or _is_unwatched(row, now_ms)]
    ids = outbox.enqueue_many(connection, [job for _, job in pairs], clock=clock)
    # The others already have a job from an earlier call.
    rescued = [row for (row, job), id_ in zip(pairs, ids, strict=True) if job.id == id_]
    given_up = [row for row in rows if is_old[row.id] and row not in rescued]
    for row in given_up:
        dead = {"status": Outcome.DEAD.value, "finished_at": now_ms, "lease_until": 0, "error": _reason(row)}
        connection.execute(update(runs).where(runs.c.id == row.id).values(**dead))
    return rescued, given_up


def _is_unwatched(row: Row[Any], now_ms: int) -> bool:
    """Return whether the attempt ended so long ago that a running watch would have rescued it."""
    ended_ms: int = row.lease_until if row.status == "running" else row.finished_at
    return ended_ms < now_ms - UNWATCHED_AFTER // MILLISECOND


def _job(row: Row[Any]) -> Job[Any]:
    fire = Fire(
        scheduled_for=from_ms(row.scheduled_for),
        trigger=row.trigger,
        dry_run=False,
        options=json.loads(row.options) if row.options else {},
    )
    # Once for each attempt: the run stays stale while the job's message is on its way.
    key = f"rescue {row.id} {row.attempt}"
    trace = str(trace_of(row.id))
    return Job(type="continue_run", payload=fire.to_continue(row.task), idempotency_key=key, traceparent=trace)


def _reason(row: Row[Any]) -> str:
    return f"it was not over a day after it began: {row.error or 'each time, its process ended'}"
