"""The schedules of tasks: what is due when, what became of it, pausing them, and making up for what did not run."""

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
from chalicelib.core.redaction import redact
from chalicelib.queue import outbox
from chalicelib.queue.outbox import NewJob
from chalicelib.runs.claims import MISSED
from chalicelib.runs.fire import Fire
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import runs

Found = TypeVar("Found")

# More runs than this in one request are a slip of the keyboard.
MOST_RUNS = 400


class Every(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every task, and how many of its next fires to tell."""

    count: Annotated[int, msgspec.Meta(ge=0, le=100)] = 3


class PauseRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task, or * for every one, and why it is paused."""

    task: str
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Resume(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task, or * for every one."""

    task: str


class Backfill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task, the moments, first and last, between which its fires are to run, and whether only to tell which."""

    task: str
    first: datetime
    last: datetime
    dry_run: bool = False


def list_schedules(context: Context, asked: Every, planned: Mapping[str, Schedule]) -> dict[str, Any]:
    """Return each task's schedule, whether it is paused, its latest run, and its next fires in UTC and its zone."""
    now = from_ms(context.clock.now_ms())

    def work(connection: Connection) -> tuple[Sequence[Pause], dict[str, Any]]:
        newest = select(runs.c.task, func.max(runs.c.scheduled_for).label("at")).group_by(runs.c.task).subquery()
        latest = select(runs).join(newest, (runs.c.task == newest.c.task) & (runs.c.scheduled_for == newest.c.at))
        return pauses.read(connection), {row.task: row for row in connection.execute(latest)}

    paused, latest = context.database.autocommit(work)
    tasks = []
    for name, schedule in planned.items():
        pause, run = pauses.of_task(paused, name), latest.get(name)
        told = {"task": name, **describe(schedule, now, count=asked.count)}
        told["paused"] = None if pause is None else {"reason": pause.reason, "at": iso(pause.paused_at)}
        tasks.append(told | {"latest": None if run is None else _tell_run(run)})
    return {"tasks": tasks}


def describe(schedule: Schedule, now: datetime, *, count: int) -> dict[str, Any]:
    """Return a schedule as text, cron, zone and words, and so many of its next fires; an interval has none."""
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


def _tell_run(run: Any) -> dict[str, Any]:
    return {
        "id": run.id,
        "scheduled_for": iso(from_ms(run.scheduled_for)),
        "status": run.status,
        "finished_at": None if run.finished_at is None else iso(from_ms(run.finished_at)),
        "error": redact(run.error),
    }


def pause(context: Context, asked: PauseRequest, planned: Mapping[str, Schedule]) -> dict[str, Any]:
    """Let no fire of a task run until it is resumed; runs that have begun end. Deploying changes nothing."""
    if asked.task != pauses.ALL_TASKS:
        find(asked.task, planned)
    now_ms = context.clock.now_ms()
    context.database.transact(
        lambda connection: pauses.pause(connection, "task", asked.task, reason=asked.reason, now_ms=now_ms)
    )
    return {"paused": asked.task}


def resume(context: Context, asked: Resume, planned: Mapping[str, Schedule]) -> dict[str, Any]:
    """Let a task's fires run again, and return which pauses remain: of all tasks, and of one, are two.

    Of the fires that it missed, the watch makes up for those that the task's policy says.
    """

    def work(connection: Connection) -> tuple[bool, dict[str, str]]:
        return pauses.resume(connection, "task", asked.task), pauses.reasons(connection, "task")

    resumed, remaining = context.database.transact(work)
    if not resumed and asked.task != pauses.ALL_TASKS:
        # After the fact: a task that is no more may still be paused.
        find(asked.task, planned)
    return {"resumed": asked.task if resumed else None, "paused": remaining}


def backfill(context: Context, asked: Backfill, planned: Mapping[str, Schedule]) -> dict[str, Any]:
    """Enqueue a run for each fire of a task between two moments that has no run, or only a missed one."""
    schedule = find(asked.task, planned)
    if schedule.every is not None:
        raise InvalidRequestError(f"{asked.task} runs at an interval; only what has fixed moments can be made up for")
    if asked.first.tzinfo is None or asked.last.tzinfo is None:
        raise InvalidRequestError("both moments need a time zone, as in 2016-08-04T08:00:00Z")
    now = from_ms(context.clock.now_ms())
    if asked.first > min(asked.last, now):
        raise InvalidRequestError("the first moment must lie before the last, and before now")
    last = min(asked.last, now)
    due = list(
        islice(takewhile(lambda moment: moment <= last, schedule.after(_just_before(asked.first))), MOST_RUNS + 1)
    )
    if len(due) > MOST_RUNS:
        raise InvalidRequestError(f"more than {MOST_RUNS} fires of {asked.task} lie between; ask for fewer at a time")

    def work(connection: Connection) -> list[datetime]:
        of_task = select(runs.c.scheduled_for).where(runs.c.task == asked.task, runs.c.status != MISSED)
        done = set(connection.execute(of_task.where(runs.c.scheduled_for >= to_ms(asked.first))).scalars())
        wanted = [moment for moment in due if to_ms(moment) not in done]
        if not asked.dry_run:
            outbox.enqueue_many(connection, [_job(asked.task, moment) for moment in wanted], clock=context.clock)
        return wanted

    wanted = [iso(moment) for moment in context.database.transact(work)]
    return {"task": asked.task, "missing" if asked.dry_run else "enqueued": wanted}


def _just_before(moment: datetime) -> datetime:
    return from_ms(to_ms(moment) - 1)


def _job(task: str, moment: datetime) -> NewJob:
    fire = Fire(scheduled_for=moment, trigger="backfill", dry_run=False)
    key = f"backfill {task} {iso(moment)}"
    return NewJob(type="continue_run", data=fire.to_continue(task), idempotency_key=key, unique_for=3600)


def find(task: str, planned: Mapping[str, Found]) -> Found:
    """Return what there is of a task. Raises InvalidRequestError, which suggests the nearest."""
    if task not in planned:
        raise InvalidRequestError(f"there is no task {task[:64]!r}; {suggestion(task, planned)}")
    return planned[task]
