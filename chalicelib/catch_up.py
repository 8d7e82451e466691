"""Catching up: each fire that is due has its run, or is made up for, or is recorded as missed; each is decided once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, insert, select, update

from chalicelib.claims import MISSED, find_pause, missed, take_turn
from chalicelib.clock import from_ms, iso, to_ms
from chalicelib.context import Context
from chalicelib.errors import AbsentError, ConfigurationError, HeldBackError, PausedError
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
    """Decide about the fires of cron text since the last time, of the schedule that was seen then, and tell.

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
    if schedule.every is None or decision.absent:
        count("fires_missed", decision.absent, task=task.name)
    failed, succeeded, skipped = map(len, (decision.missed, decision.made_up_for, decision.held_back))
    return Counts(total=failed + succeeded + skipped, succeeded=succeeded, failed=failed, skipped=skipped)


def _decide(connection: Connection, context: Context, task: Task, schedule: Schedule, *, now: datetime) -> Decision:
    take_turn(connection, task.name)
    seen = _seen(connection, task)
    before = schedule if seen.text == schedule.text else _as_it_was(seen.text)
    since, until = from_ms(seen.checked_until), now - task.grace
    if before is schedule and since >= until and schedule.every is None:
        return Decision()
    paused = find_pause(connection, task.name)
    if before is schedule and paused:
        return Decision()
    held_back = _held_back(connection, task)
    if before is not None and before.every is not None:
        # An interval's own fires have no moments that could be made up for; those before are of what was cron text.
        _decided(connection, task, {moment for moment in held_back if moment > since})
        held_back = {moment for moment in held_back if moment <= since}
        if before is schedule and not held_back:
            return Decision()
    if not paused and any(moment > until for moment in held_back):
        # The pause is hardly over. All that it held back is decided together, or the latest would not be the latest.
        return Decision()
    absent = _absent(connection, task, before, since=since, until=until)
    reason = paused or AbsentError(f"its fire did not come within {task.grace // MINUTE} minutes")
    rows = [
        missed(task.name, moment, trigger="schedule", reason=reason, now_ms=to_ms(now))
        for moment in absent[-MOST_RECORDED:]
    ]
    if rows:
        connection.execute(insert(runs), rows)
    # What a new schedule would have had due until now, nobody was to fire.
    checked = now if before is not schedule else since if schedule.every else until
    new = {"text": schedule.text, "checked_until": to_ms(checked)}
    connection.execute(update(schedules).where(schedules.c.task == task.name).values(**new))
    if paused:
        # Of a schedule that changes in a pause the fires wait for its end, with those that it holds back.
        return Decision()
    undone = sorted({*absent, *held_back})
    most = {"skip": 0, "latest": 1, "all": task.catch_up_limit}[task.catch_up]
    made_up_for = undone[max(len(undone) - most, 0) :]
    fires = [Fire(scheduled_for=moment, trigger="catch_up", dry_run=False) for moment in made_up_for]
    jobs = [NewJob(type="continue_run", data=fire.to_continue(task.name)) for fire in fires]
    outbox.enqueue_many(connection, jobs, clock=context.clock)
    _decided(connection, task, held_back)
    lost = undone[: len(undone) - len(made_up_for)]
    return Decision(
        absent=len(absent),
        missed=[moment for moment in lost if moment not in held_back],
        held_back=[moment for moment in lost if moment in held_back],
        made_up_for=made_up_for,
    )


def _absent(
    connection: Connection, task: Task, schedule: Schedule | None, *, since: datetime, until: datetime
) -> list[datetime]:
    """Return the moments of fires that were due and did not come."""
    if schedule is None:
        return []
    of_task = (runs.c.task == task.name, runs.c.scheduled_for > to_ms(since), runs.c.scheduled_for <= to_ms(until))
    came = {from_ms(moment) for moment in connection.execute(select(runs.c.scheduled_for).where(*of_task)).scalars()}
    return [due for due in takewhile(lambda moment: moment <= until, schedule.after(since)) if due not in came]


def _held_back(connection: Connection, task: Task) -> set[datetime]:
    """Return the moments of fires that a pause has held back and nobody has decided about, however long ago."""
    return set(map(from_ms, connection.execute(select(runs.c.scheduled_for).where(_of_pauses(task))).scalars()))


def _decided(connection: Connection, task: Task, held_back: Collection[datetime]) -> None:
    if held_back:
        moments = runs.c.scheduled_for.between(to_ms(min(held_back)), to_ms(max(held_back)))
        connection.execute(update(runs).where(_of_pauses(task), moments).values(error_type=HeldBackError.__name__))


def _of_pauses(task: Task) -> ColumnElement[bool]:
    return and_(runs.c.status == MISSED, runs.c.task == task.name, runs.c.error_type == PausedError.__name__)


def _seen(connection: Connection, task: Task) -> Row[Any]:
    """Return the task's schedule as the watch has seen it, and up to when its fires are decided about."""
    return connection.execute(select(schedules).where(schedules.c.task == task.name)).one()


def _as_it_was(text: str) -> Schedule | None:
    try:
        return Schedule(text) if text else None
    except ConfigurationError:
        # As an older version took it.
        return None


def listen(context: Context, task: Task, schedule: Schedule) -> Counts:
    """Tell when an interval's fires have ceased: nobody knows their moments, so none can be made up for."""
    now, every = from_ms(context.clock.now_ms()), schedule.every or timedelta()
    of_task = select(runs.c.scheduled_for).where(runs.c.task == task.name, runs.c.trigger == "schedule")
    latest = of_task.order_by(runs.c.scheduled_for.desc()).limit(1)

    def work(connection: Connection) -> datetime:
        since = from_ms(_seen(connection, task).checked_until)
        return max(since, from_ms(connection.execute(latest).scalar() or 0))

    heard = context.database.autocommit(work)
    have_ceased = heard + every + task.grace < now
    if have_ceased:
        logger.error("fires have ceased", extra={"task": task.name, "latest": iso(heard)})
    count("fires_missed", int(have_ceased), task=task.name)
    return Counts(total=int(have_ceased), failed=int(have_ceased))
