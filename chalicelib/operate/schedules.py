"""The schedules of tasks: when each is due, its latest run, and runs for past fires."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice, takewhile
from typing import Annotated, Any, TypeVar

import msgspec
from sqlalchemy import Connection, func, select

from chalicelib.core import pauses
from chalicelib.core.clock import from_ms, iso, to_ms
from chalicelib.core.context import Context
from chalicelib.core.error_text import suggestion
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.pauses import Pause
from chalicelib.operate.answers import to_json
from chalicelib.operate.status.runs import COLUMNS, read_run
from chalicelib.queue import outbox
from chalicelib.queue.job import Job
from chalicelib.runs.claims import MISSED
from chalicelib.runs.fire import Fire
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import runs

T = TypeVar("T")

# A request for more runs is most likely a mistake.
MOST_RUNS = 400


class ListSchedules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many of each task's next fires to return."""

    count: Annotated[int, msgspec.Meta(ge=0, le=100)] = 3


class Backfill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task and the first and last moment of the fires to run; a dry run only returns them."""

    task: str
    first: datetime
    last: datetime
    dry_run: bool = False


def list_schedules(context: Context, request: ListSchedules, schedules: Mapping[str, Schedule]) -> dict[str, Any]:
    """Return each task's schedule, its pause, its latest run, and its next fires in UTC and in its zone."""
    now = from_ms(context.clock.now_ms())

    def work(connection: Connection) -> tuple[Sequence[Pause], dict[str, Any]]:
        newest = select(runs.c.task, func.max(runs.c.scheduled_for).label("at")).group_by(runs.c.task).subquery()
        latest = select(*COLUMNS).join(newest, (runs.c.task == newest.c.task) & (runs.c.scheduled_for == newest.c.at))
        return pauses.read(connection), {row.task: to_json(read_run(row)) for row in connection.execute(latest)}

    paused, latest = context.database.autocommit(work)
    tasks = []
    for name, schedule in schedules.items():
        pause = pauses.of_task(paused, name)
        tasks.append(
            {
                "task": name,
                **describe(schedule, now, count=request.count),
                "paused": None if pause is None else {"reason": pause.reason, "at": iso(pause.paused_at)},
                "latest": latest.get(name),
            }
        )
    return {"tasks": tasks}


def describe(schedule: Schedule, now: datetime, *, count: int) -> dict[str, Any]:
    """Return a schedule as text, cron, zone and words, and its next `count` fires; an interval has none."""
    has_moments = schedule.every is None
    return {
        "schedule": schedule.text,
        "cron": schedule.cron if has_moments else None,
        "zone": str(schedule.zone) if has_moments else None,
        "words": schedule.words,
        "next": [
            {"at": iso(moment), "local": moment.astimezone(schedule.zone).isoformat()}
            for moment in schedule.next(now, count=count)
        ],
    }


def backfill(context: Context, request: Backfill, schedules: Mapping[str, Schedule]) -> dict[str, Any]:
    """Enqueue a run for each fire of a task between two moments that has no run, or only a missed one."""
    schedule = find(request.task, schedules)
    if schedule.every is not None:
        raise InvalidRequestError(f"{request.task} runs at an interval, so it has no past fires to backfill")
    if request.first.tzinfo is None or request.last.tzinfo is None:
        raise InvalidRequestError("both moments need a time zone, as in 2016-08-04T08:00:00Z")
    first, last = request.first, min(request.last, from_ms(context.clock.now_ms()))
    if first > last:
        raise InvalidRequestError("the first moment must be before the last, and before now")
    fires = schedule.after(from_ms(to_ms(first) - 1))
    due = list(islice(takewhile(lambda moment: moment <= last, fires), MOST_RUNS + 1))
    if len(due) > MOST_RUNS:
        raise InvalidRequestError(f"more than {MOST_RUNS} fires of {request.task}; backfill fewer at a time")

    def work(connection: Connection) -> list[datetime]:
        of_task = select(runs.c.scheduled_for).where(runs.c.task == request.task, runs.c.status != MISSED)
        done = set(connection.execute(of_task.where(runs.c.scheduled_for >= to_ms(first))).scalars())
        wanted = [moment for moment in due if to_ms(moment) not in done]
        if not request.dry_run:
            outbox.enqueue_many(connection, [_job(request.task, moment) for moment in wanted], clock=context.clock)
        return wanted

    wanted = [iso(moment) for moment in context.database.transact(work)]
    return {"task": request.task, "missing" if request.dry_run else "enqueued": wanted}


def _job(task: str, moment: datetime) -> Job[Any]:
    fire = Fire(scheduled_for=moment, trigger="backfill", dry_run=False)
    key = f"backfill {task} {iso(moment)}"
    return Job(type="continue_run", payload=fire.to_continue(task), idempotency_key=key, unique_for=3600)


def find(task: str, by_task: Mapping[str, T]) -> T:
    """Return the value of a task. Raises InvalidRequestError, which suggests the nearest name."""
    if task not in by_task:
        raise InvalidRequestError(f"there is no task {task[:64]!r}; {suggestion(task, by_task)}")
    return by_task[task]
