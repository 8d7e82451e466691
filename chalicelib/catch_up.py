"""Catching up: each fire that is due has its run, or is made up for, or is recorded as missed; each is decided once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from sqlalchemy import Connection, insert, select, update

from chalicelib.claims import MISSED, find_pause, missed, take_turn
from chalicelib.clock import from_ms, iso, to_ms
from chalicelib.context import Context
from chalicelib.errors import AbsentError, PausedError
from chalicelib.fire import Fire
from chalicelib.outcome import Counts
from chalicelib.queue import outbox
from chalicelib.queue.outbox import NewJob
from chalicelib.schedule import Schedule
from chalicelib.schema import runs, schedules
from chalicelib.tasks import Task
from chalicelib.telemetry import count, logger

# Of a stage that slept for a year only so many fires, the latest ones, get a row each.
MOST_RECORDED = 500
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of the fires that are due and have no run; `absent` did not come, whatever becomes of them."""

    absent: int = 0
    missed: Sequence[datetime] = ()
    held_back: Sequence[datetime] = ()
    made_up_for: Sequence[datetime] = ()


def settle(context: Context, task: Task, schedule: Schedule) -> Counts:
    """Decide about the fires of cron text since the last time, and tell.

    Counts are fires: succeeded are made up for, skipped came in a pause, failed did not come.
    """
    now = from_ms(context.clock.now_ms())
    decision = context.database.transact(lambda connection: _decide(connection, context, task, schedule, now=now))
    for message, write, fires in (
        ("fires missed", logger.error, decision.missed),
        ("fires made up for", logger.warning, decision.made_up_for),
        ("fires held back by a pause", logger.info, decision.held_back),
    ):
        if fires:
            told = {"task": task.name, "fires": len(fires), "first": iso(fires[0]), "last": iso(fires[-1])}
            write(message, extra=told)
    count("fires_missed", decision.absent, task=task.name)
    failed, succeeded, skipped = map(len, (decision.missed, decision.made_up_for, decision.held_back))
    return Counts(total=failed + succeeded + skipped, succeeded=succeeded, failed=failed, skipped=skipped)


def _decide(connection: Connection, context: Context, task: Task, schedule: Schedule, *, now: datetime) -> Decision:
    since, until = _checked_until(connection, task, schedule, now=now), now - task.grace
    if since >= until or find_pause(connection, task.name):
        return Decision()
    of_task = select(runs.c.scheduled_for, runs.c.status, runs.c.error_type).where(
        runs.c.task == task.name, runs.c.scheduled_for > to_ms(since)
    )
    # By moment, whether it came in a pause.
    came = {
        from_ms(row.scheduled_for): row.status == MISSED and row.error_type == PausedError.__name__
        for row in connection.execute(of_task)
    }
    if any(moment > until for moment, was_paused in came.items() if was_paused):
        # The pause is hardly over. All that it held back is decided together, or the latest would not be the latest.
        return Decision()
    due = list(takewhile(lambda moment: moment <= until, schedule.after(since)))
    undone = [moment for moment in due if came.get(moment, True)]
    most = {"skip": 0, "latest": 1, "all": task.catch_up_limit}[task.catch_up]
    made_up_for = undone[max(len(undone) - most, 0) :]
    absent = [moment for moment in undone if moment not in came]
    reason = AbsentError(f"its fire did not come within {task.grace // MINUTE} minutes")
    rows = [
        missed(task.name, moment, trigger="schedule", reason=reason, now_ms=to_ms(now))
        for moment in absent[-MOST_RECORDED:]
    ]
    if rows:
        connection.execute(insert(runs), rows)
    fires = [Fire(scheduled_for=moment, trigger="catch_up", dry_run=False) for moment in made_up_for]
    jobs = [NewJob(type="continue_run", data=fire.to_continue(task.name)) for fire in fires]
    outbox.enqueue_many(connection, jobs, clock=context.clock)
    decided = update(schedules).where(schedules.c.task == task.name).values(checked_until=to_ms(until))
    connection.execute(decided)
    lost = undone[: len(undone) - len(made_up_for)]
    return Decision(
        absent=len(absent),
        missed=[moment for moment in lost if moment not in came],
        held_back=[moment for moment in lost if moment in came],
        made_up_for=made_up_for,
    )


def listen(context: Context, task: Task, schedule: Schedule) -> Counts:
    """Tell when an interval's fires have ceased: nobody knows their moments, so none can be made up for."""
    now, every = from_ms(context.clock.now_ms()), schedule.every or timedelta()
    of_task = select(runs.c.scheduled_for).where(runs.c.task == task.name, runs.c.trigger == "schedule")
    latest = of_task.order_by(runs.c.scheduled_for.desc()).limit(1)

    def work(connection: Connection) -> datetime:
        since = _checked_until(connection, task, schedule, now=now)
        return max(since, from_ms(connection.execute(latest).scalar() or 0))

    heard = context.database.transact(work)
    have_ceased = heard + every + task.grace < now
    if have_ceased:
        logger.error("fires have ceased", extra={"task": task.name, "latest": iso(heard)})
    count("fires_missed", int(have_ceased), task=task.name)
    return Counts(total=int(have_ceased), failed=int(have_ceased))


def _checked_until(connection: Connection, task: Task, schedule: Schedule, *, now: datetime) -> datetime:
    """Return up to when the fires of this schedule are decided about, and let nobody else decide meanwhile."""
    take_turn(connection, task.name)
    of_task = schedules.c.task == task.name
    row = connection.execute(select(schedules).where(of_task)).one()
    if row.text == schedule.text:
        return from_ms(row.checked_until)
    # New, or another one than before: what would have been due until now, nobody was to fire.
    new = {"text": schedule.text, "checked_until": to_ms(now)}
    connection.execute(update(schedules).where(of_task).values(**new))
    return now
