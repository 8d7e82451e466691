"""Catch-up: each due fire gets its run, a run later, or a record that it was missed; each is decided once.

The schedules that a task has had, and since when, are in its row of `schedules`: they say which fires were due.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise, takewhile
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, insert, select, update

from chalicelib.core.attempt import attempt
from chalicelib.core.clock import from_ms, iso, to_ms
from chalicelib.core.context import Context
from chalicelib.core.errors import ConfigurationError, RunFailedError
from chalicelib.core.outcome import Counts
from chalicelib.core.redaction import redact
from chalicelib.core.telemetry import count, logger
from chalicelib.queue import outbox
from chalicelib.queue.job import Job
from chalicelib.runs.claims import MISSED, MissedFire, MissedReason, find_pause, lock_task, missed_row
from chalicelib.runs.fire import Fire
from chalicelib.runs.functions import deployed_at
from chalicelib.runs.task import Task
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import runs
from chalicelib.schema import schedules as schedules_table

# After a year without the watch, only the latest of the missed fires get a row each.
MOST_RECORDED = 500
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, kw_only=True)
class Period:
    """A schedule's text, in force for moments after `since`, up to and including the next period's."""

    since: datetime
    text: str

    @property
    def schedule(self) -> Schedule | None:
        """The schedule; None if the task had none or this version does not understand it."""
        try:
            return Schedule(self.text) if self.text else None
        except ConfigurationError:
            return None

    @property
    def is_interval(self) -> bool:
        """Whether the moments of its fires are unknown."""
        schedule = self.schedule
        return schedule is not None and schedule.every is not None

    def means(self, text: str) -> bool:
        """Return whether another text is due at the same moments."""
        return self.text == text or self.schedule == Period(since=self.since, text=text).schedule is not None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What happens to due fires without a run; `no_fire` counts those that EventBridge did not send."""

    no_fire: int = 0
    missed: Sequence[datetime] = ()
    held_back: Sequence[datetime] = ()
    caught_up: Sequence[datetime] = ()


def record_schedules(context: Context, schedules: Mapping[str, Schedule]) -> Counts:
    """Record each task whose schedule is new, changed or removed, and since when."""
    query = select(schedules_table)
    rows = {row.task: row for row in context.database.autocommit(lambda connection: connection.execute(query).all())}
    texts = dict.fromkeys(rows, "") | {name: schedule.text for name, schedule in schedules.items()}
    changed = {task: text for task, text in texts.items() if task not in rows or not current(rows[task]).means(text)}
    now, moments = from_ms(context.clock.now_ms()), deployed_at(changed, context)
    for task, text in changed.items():
        period = Period(since=min(moments.get(task, now), now), text=text)
        context.database.transact(partial(_add_period, task=task, new=period))
    return Counts()


def record_or_raise(context: Context, schedules: Mapping[str, Schedule]) -> None:
    """Record the schedules. Raises RunFailedError, redacted, so that Lambda's alarms see it."""
    ended = attempt(lambda: record_schedules(context, schedules), clock=context.clock, last=False)
    if ended.error is not None:
        failure = redact(f"the schedules were not recorded: {ended.error_message}")
        raise RunFailedError(failure, outcome=ended.outcome) from ended.error


def reconcile(context: Context, task: Task, schedule: Schedule) -> Counts:
    """Decide about the task's fires since the last check, by the schedules that were in force, and report.

    Counts are fires: succeeded are caught up, skipped were held back by a pause, failed are missed.
    """
    now = from_ms(context.clock.now_ms())
    decision = context.database.transact(lambda connection: _decide(connection, context, task, now=now))
    for message, write, fires in (
        ("fires missed", logger.error, decision.missed),
        ("fires caught up", logger.warning, decision.caught_up),
        ("fires held back by a pause", logger.info, decision.held_back),
    ):
        if fires:
            fields = {"task": task.name, "fires": len(fires), "first": iso(fires[0]), "last": iso(fires[-1])}
            write(message, extra=fields)
    if schedule.every is None or decision.no_fire:
        count("fires_missed", decision.no_fire, task=task.name)
    failed, succeeded, skipped = map(len, (decision.missed, decision.caught_up, decision.held_back))
    return Counts(total=failed + succeeded + skipped, succeeded=succeeded, failed=failed, skipped=skipped)


def check_interval(context: Context, task: Task, schedule: Schedule) -> Counts:
    """Report when an interval's fires have stopped; they have no known moments, so none can be caught up."""
    now, every = from_ms(context.clock.now_ms()), schedule.every or timedelta()
    of_task = select(runs.c.scheduled_for).where(runs.c.task == task.name, runs.c.trigger == "schedule")
    latest = of_task.order_by(runs.c.scheduled_for.desc()).limit(1)

    def work(connection: Connection) -> datetime:
        row = _read_row(connection, task.name)
        since = max(from_ms(row.checked_until), current(row).since)
        return max(since, from_ms(connection.execute(latest).scalar() or 0))

    last_fire = context.database.autocommit(work)
    have_stopped = last_fire + every + task.grace < now
    if have_stopped:
        logger.error("fires have stopped", extra={"task": task.name, "latest": iso(last_fire)})
    count("fires_missed", int(have_stopped), task=task.name)
    return Counts(total=int(have_stopped), failed=int(have_stopped))


def _decide(connection: Connection, context: Context, task: Task, *, now: datetime) -> Decision:
    lock_task(connection, task.name)
    if find_pause(connection, task.name):
        # The fires of all its schedules are decided together after the pause.
        return Decision()
    row = _read_row(connection, task.name)
    periods, checked, until = periods_of(row), from_ms(row.checked_until), now - task.grace
    held_back = _held_back(connection, task)
    if any(moment > until for moment in held_back):
        # The pause has only just ended. Its fires are decided together, or `latest` could pick the wrong one.
        return Decision()
    in_force = _in_force(periods, until)
    # An interval is checked up to its beginning; check_interval covers it from then on.
    new_checked = max(checked, in_force.since if in_force.is_interval else until)
    if new_checked == checked and not held_back:
        return Decision()
    no_fire = _without_run(connection, task, periods, since=checked, until=until)
    message = f"its fire did not come within {task.grace // MINUTE} minutes"
    missed = MissedFire(message, reason=MissedReason.NO_FIRE)
    rows = [
        missed_row(task.name, moment, trigger="schedule", missed=missed, now_ms=to_ms(now))
        for moment in no_fire[-MOST_RECORDED:]
    ]
    if rows:
        connection.execute(insert(runs), rows)
    _write_periods(connection, task.name, periods[periods.index(in_force) :], checked_until=new_checked)
    _mark_decided(connection, task, held_back)
    # An interval's own fires have no moments that could be caught up.
    held_back = {moment for moment in held_back if moment <= checked or not _in_force(periods, moment).is_interval}
    undone = sorted({*no_fire, *held_back})
    most = {"skip": 0, "latest": 1, "all": task.catch_up_limit}[task.catch_up]
    caught_up = undone[max(len(undone) - most, 0) :]
    fires = [Fire(scheduled_for=moment, trigger="catch_up", dry_run=False) for moment in caught_up]
    jobs = [Job(type="continue_run", payload=fire.to_continue(task.name)) for fire in fires]
    outbox.enqueue_many(connection, jobs, clock=context.clock)
    lost = undone[: len(undone) - len(caught_up)]
    return Decision(
        no_fire=len(no_fire),
        missed=[moment for moment in lost if moment not in held_back],
        held_back=[moment for moment in lost if moment in held_back],
        caught_up=caught_up,
    )


def _without_run(
    connection: Connection, task: Task, periods: Sequence[Period], *, since: datetime, until: datetime
) -> list[datetime]:
    """Return the moments of due fires that have no row."""
    of_task = (runs.c.task == task.name, runs.c.scheduled_for > to_ms(since), runs.c.scheduled_for <= to_ms(until))
    came = {from_ms(moment) for moment in connection.execute(select(runs.c.scheduled_for).where(*of_task)).scalars()}
    return [moment for moment in _due(periods, since, until) if moment not in came]


def _held_back(connection: Connection, task: Task) -> set[datetime]:
    """Return the moments of undecided fires that a pause has held back, however long ago."""
    return set(map(from_ms, connection.execute(select(runs.c.scheduled_for).where(_is_paused(task))).scalars()))


def _mark_decided(connection: Connection, task: Task, held_back: Collection[datetime]) -> None:
    if held_back:
        moments = runs.c.scheduled_for.between(to_ms(min(held_back)), to_ms(max(held_back)))
        connection.execute(update(runs).where(_is_paused(task), moments).values(error_type=MissedReason.HELD_BACK))


def _is_paused(task: Task) -> ColumnElement[bool]:
    return and_(runs.c.status == MISSED, runs.c.task == task.name, runs.c.error_type == MissedReason.PAUSED)


def periods_of(row: Any) -> list[Period]:
    """Return the periods of a row of `schedules`, oldest first; the first one also covers everything before it."""
    if row.history is None:
        return [Period(since=from_ms(row.checked_until), text=row.text)]
    return [Period(since=from_ms(since), text=text) for since, text in json.loads(row.history)]


def current(row: Any) -> Period:
    """Return the latest period of a row of `schedules`."""
    return periods_of(row)[-1]


def _due(periods: Sequence[Period], first: datetime, last: datetime) -> Iterator[datetime]:
    """Yield the moments after `first` and up to `last` that were due by the schedule then in force."""
    ends = [*(following.since for _, following in pairwise(periods)), last]
    for period, end in zip(periods, ends, strict=True):
        start, end = first if period is periods[0] else max(first, period.since), min(end, last)
        if start < end and (schedule := period.schedule):
            yield from takewhile(lambda moment, end=end: moment <= end, schedule.after(start))  # type: ignore[misc]


def _in_force(periods: Sequence[Period], moment: datetime) -> Period:
    return next((period for period in reversed(periods) if period.since < moment), periods[0])


def _read_row(connection: Connection, task: str) -> Any:
    return connection.execute(select(schedules_table).where(schedules_table.c.task == task)).one()


def _write_periods(connection: Connection, task: str, periods: Sequence[Period], *, checked_until: datetime) -> None:
    history = json.dumps([[to_ms(period.since), period.text] for period in periods])
    values = {"text": periods[-1].text, "history": history, "checked_until": to_ms(checked_until)}
    connection.execute(update(schedules_table).where(schedules_table.c.task == task).values(**values))


def _add_period(connection: Connection, *, task: str, new: Period) -> None:
    lock_task(connection, task)
    row = _read_row(connection, task)
    periods, checked_until = periods_of(row), from_ms(row.checked_until)
    if not row.text and row.history is None:
        # Nothing was due before the task's first schedule.
        periods, checked_until = [], new.since
    elif new.since < periods[-1].since:
        # This function belongs to an older deployment.
        return
    elif new.since == periods[-1].since:
        periods = periods[:-1]
    if not periods or not periods[-1].means(new.text):
        periods = [*periods, new]
    _write_periods(connection, task, periods, checked_until=checked_until)
