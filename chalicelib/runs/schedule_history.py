"""The schedules that each task has had, and from when each holds: by them the watch decides which fires were due."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise, takewhile
from typing import Any

from sqlalchemy import Connection, select, update

from chalicelib.core.attempt import attempt
from chalicelib.core.clock import from_ms, to_ms
from chalicelib.core.context import Context
from chalicelib.core.errors import ConfigurationError, RunFailedError
from chalicelib.core.outcome import Counts
from chalicelib.core.redaction import redact
from chalicelib.runs.claims import take_turn
from chalicelib.runs.functions import deployed_at
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import schedules


@dataclass(frozen=True, kw_only=True)
class Period:
    """A schedule, in force for moments after `since` and until the next period's, that one included."""

    since: datetime
    text: str

    @property
    def schedule(self) -> Schedule | None:
        """Return the schedule; None where the task had none, or one that this version does not understand."""
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
        """Return whether other text is due at the same moments."""
        return self.text == text or self.schedule == Period(since=self.since, text=text).schedule is not None


def record(context: Context, planned: Mapping[str, Schedule]) -> Counts:
    """Record each task whose schedule is another than before, or that is new or gone, and since when."""
    query = select(schedules)
    rows = {row.task: row for row in context.database.autocommit(lambda connection: connection.execute(query).all())}
    texts = dict.fromkeys(rows, "") | {name: schedule.text for name, schedule in planned.items()}
    new = {task: text for task, text in texts.items() if task not in rows or not read(rows[task])[-1].means(text)}
    now, moments = from_ms(context.clock.now_ms()), deployed_at(new, context)
    for task, text in new.items():
        period = Period(since=min(moments.get(task, now), now), text=text)
        context.database.transact(partial(_add, task=task, new=period))
    return Counts()


def record_or_fail(context: Context, planned: Mapping[str, Schedule]) -> None:
    """Record as `record` does. Raises RunFailedError, so that Lambda's alarms see it, without what is secret."""
    ended = attempt(lambda: record(context, planned), clock=context.clock, last=False)
    if ended.error is not None:
        failure = redact(f"the schedules were not recorded: {ended.error_message}")
        raise RunFailedError(failure, outcome=ended.outcome) from ended.error


def read(row: Any) -> list[Period]:
    """Return the periods of a row of `schedules`, oldest first; the first one also covers all that was before."""
    if row.history is None:
        return [Period(since=from_ms(row.checked_until), text=row.text)]
    return [Period(since=from_ms(since), text=text) for since, text in json.loads(row.history)]


def due(periods: Sequence[Period], first: datetime, last: datetime) -> Iterator[datetime]:
    """Yield the moments after `first` and up to `last` that were due by the schedule then in force."""
    ends = [*(following.since for _, following in pairwise(periods)), last]
    for period, end in zip(periods, ends, strict=True):
        start, end = first if period is periods[0] else max(first, period.since), min(end, last)
        if start < end and (schedule := period.schedule):
            yield from takewhile(lambda moment, end=end: moment <= end, schedule.after(start))  # type: ignore[misc]


def in_force(periods: Sequence[Period], moment: datetime) -> Period:
    """Return the period of a moment."""
    return next((period for period in reversed(periods) if period.since < moment), periods[0])


def write(connection: Connection, task: str, periods: Sequence[Period], *, checked_until: datetime) -> None:
    """Record the periods of a task, and up to when its fires are decided about."""
    history = json.dumps([[to_ms(period.since), period.text] for period in periods])
    new = {"text": periods[-1].text, "history": history, "checked_until": to_ms(checked_until)}
    connection.execute(update(schedules).where(schedules.c.task == task).values(**new))


def _add(connection: Connection, *, task: str, new: Period) -> None:
    take_turn(connection, task)
    row = connection.execute(select(schedules).where(schedules.c.task == task)).one()
    periods, checked_until = read(row), from_ms(row.checked_until)
    if not row.text and row.history is None:
        # Nothing was due before the first one that is known.
        periods, checked_until = [], new.since
    elif new.since < periods[-1].since:
        # This function is still of an older deployment.
        return
    elif new.since == periods[-1].since:
        periods = periods[:-1]
    if not periods or not periods[-1].means(new.text):
        periods = [*periods, new]
    write(connection, task, periods, checked_until=checked_until)
