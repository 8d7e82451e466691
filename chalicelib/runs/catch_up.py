"""Catching up: each fire that is due has its run, or is made up for, or is recorded as missed; each is decided once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, insert, select, update

from chalicelib.core.clock import from_ms, iso, to_ms
from chalicelib.core.context import Context
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import count, logger
from chalicelib.queue import outbox
from chalicelib.queue.outbox import NewJob
from chalicelib.runs import schedule_history
from chalicelib.runs.claims import MISSED, MissedFire, MissedReason, find_pause, missed, take_turn
from chalicelib.runs.fire import Fire
from chalicelib.runs.schedule_history import Period, in_force
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import runs, schedules
from chalicelib.tasks import Task

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
    """Decide about the fires of cron text since the last time, by the schedules that were in force, and tell.

    Counts are fires: succeeded are made up for, skipped came in a pause, failed did not come.
    """
    now = from_ms(context.clock.now_ms())
    decision = context.database.transact(lambda connection: _decide(connection, context, task, now=now))
    for message, write, fires in (
        ("fires missed", logger.error, decision.missed),
        ("fires made up for", logger.warning, decision.made_up_for),
        ("fires held back by a pause", logger.info, decision.held_back),
    ):
        if fires:
            told = {"task": task.name, "fires": len(fires), "first": iso(fires[0]), "last": iso(fires[-1])}
            write(message, extra=told)
    if schedule.every is None or decision.absent:
        count("fires_missed", decision.absent, task=task.name)
    failed, succeeded, skipped = map(len, (decision.missed, decision.made_up_for, decision.held_back))
    return Counts(total=failed + succeeded + skipped, succeeded=succeeded, failed=failed, skipped=skipped)


def _decide(connection: Connection, context: Context, task: Task, *, now: datetime) -> Decision:
    take_turn(connection, task.name)
    if find_pause(connection, task.name):
        # What was due by any of its schedules is decided together when the pause is over.
        return Decision()
    row = _read(connection, task)
    periods, checked, until = schedule_history.read(row), from_ms(row.checked_until), now - task.grace
    held_back = _held_back(connection, task)
    if any(moment > until for moment in held_back):
        # The pause is hardly over. All that it held back is decided together, or the latest would not be the latest.
        return Decision()
    current = in_force(periods, until)
    # An interval is checked since its beginning: from then on it is waited for.
    new_checked = max(checked, current.since if current.is_interval else until)
    if new_checked == checked and not held_back:
        return Decision()
    absent = _absent(connection, task, periods, since=checked, until=until)
    reason = MissedFire(f"its fire did not come within {task.grace // MINUTE} minutes", reason=MissedReason.NO_FIRE)
    rows = [
        missed(task.name, moment, trigger="schedule", reason=reason, now_ms=to_ms(now))
        for moment in absent[-MOST_RECORDED:]
    ]
    if rows:
        connection.execute(insert(runs), rows)
    schedule_history.write(connection, task.name, periods[periods.index(current) :], checked_until=new_checked)
    _decided(connection, task, held_back)
    # An interval's own fires have no moments that could be made up for.
    held_back = {moment for moment in held_back if moment <= checked or not in_force(periods, moment).is_interval}
    undone = sorted({*absent, *held_back})
    most = {"skip": 0, "latest": 1, "all": task.catch_up_limit}[task.catch_up]
    made_up_for = undone[max(len(undone) - most, 0) :]
    fires = [Fire(scheduled_for=moment, trigger="catch_up", dry_run=False) for moment in made_up_for]
    jobs = [NewJob(type="continue_run", data=fire.to_continue(task.name)) for fire in fires]
    outbox.enqueue_many(connection, jobs, clock=context.clock)
    lost = undone[: len(undone) - len(made_up_for)]
    return Decision(
        absent=len(absent),
        missed=[moment for moment in lost if moment not in held_back],
        held_back=[moment for moment in lost if moment in held_back],
        made_up_for=made_up_for,
    )


def _absent(
    connection: Connection, task: Task, periods: Sequence[Period], *, since: datetime, until: datetime
) -> list[datetime]:
    """Return the moments of fires that were due and did not come."""
    of_task = (runs.c.task == task.name, runs.c.scheduled_for > to_ms(since), runs.c.scheduled_for <= to_ms(until))
    came = {from_ms(moment) for moment in connection.execute(select(runs.c.scheduled_for).where(*of_task)).scalars()}
    return [moment for moment in schedule_history.due(periods, since, until) if moment not in came]


def _held_back(connection: Connection, task: Task) -> set[datetime]:
    """Return the moments of fires that a pause has held back and nobody has decided about, however long ago."""
    return set(map(from_ms, connection.execute(select(runs.c.scheduled_for).where(_of_pauses(task))).scalars()))


def _decided(connection: Connection, task: Task, held_back: Collection[datetime]) -> None:
    if held_back:
        moments = runs.c.scheduled_for.between(to_ms(min(held_back)), to_ms(max(held_back)))
        connection.execute(update(runs).where(_of_pauses(task), moments).values(error_type=MissedReason.HELD_BACK))


def _of_pauses(task: Task) -> ColumnElement[bool]:
    return and_(runs.c.status == MISSED, runs.c.task == task.name, runs.c.error_type == MissedReason.PAUSED)


def _read(connection: Connection, task: Task) -> Row[Any]:
    """Return the task's schedules, and up to when its fires are decided about."""
    return connection.execute(select(schedules).where(schedules.c.task == task.name)).one()


def listen(context: Context, task: Task, schedule: Schedule) -> Counts:
    """Tell when an interval's fires have ceased: nobody knows their moments, so none can be made up for."""
    now, every = from_ms(context.clock.now_ms()), schedule.every or timedelta()
    of_task = select(runs.c.scheduled_for).where(runs.c.task == task.name, runs.c.trigger == "schedule")
    latest = of_task.order_by(runs.c.scheduled_for.desc()).limit(1)

    def work(connection: Connection) -> datetime:
        row = _read(connection, task)
        since = max(from_ms(row.checked_until), schedule_history.read(row)[-1].since)
        return max(since, from_ms(connection.execute(latest).scalar() or 0))

    heard = context.database.autocommit(work)
    have_ceased = heard + every + task.grace < now
    if have_ceased:
        logger.error("fires have ceased", extra={"task": task.name, "latest": iso(heard)})
    count("fires_missed", int(have_ceased), task=task.name)
    return Counts(total=int(have_ceased), failed=int(have_ceased))
