"""Pausing and resuming jobs and tasks. A deployment changes no pause."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

import msgspec
from sqlalchemy import Connection

from chalicelib.core import pauses
from chalicelib.core.context import Context
from chalicelib.core.pauses import Kind
from chalicelib.operate.schedules import find
from chalicelib.queue.handler import find_handler
from chalicelib.schedule.schedule import Schedule

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class PauseJobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job type, or `*` for all, and why it is paused."""

    type: str
    reason: Reason


class ResumeJobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A job type, or `*` for all."""

    type: str


class PauseTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task, or `*` for all, and why it is paused."""

    task: str
    reason: Reason


class ResumeTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task, or `*` for all."""

    task: str


def pause_jobs(context: Context, request: PauseJobs) -> dict[str, Any]:
    """Pause the jobs of a type. Jobs in progress complete."""
    return _pause(context, "job", request.type, request.reason, check=partial(find_handler, context))


def resume_jobs(context: Context, request: ResumeJobs) -> dict[str, Any]:
    """Resume the jobs of a type, and return the pauses that remain; waiting jobs are sent within a minute."""
    return _resume(context, "job", request.type, check=partial(find_handler, context))


def pause_task(context: Context, request: PauseTask, schedules: Mapping[str, Schedule]) -> dict[str, Any]:
    """Pause a task. Runs in progress complete."""
    return _pause(context, "task", request.task, request.reason, check=lambda task: find(task, schedules))


def resume_task(context: Context, request: ResumeTask, schedules: Mapping[str, Schedule]) -> dict[str, Any]:
    """Resume a task, and return the pauses that remain; the watch applies its catch-up policy to the missed fires."""
    return _resume(context, "task", request.task, check=lambda task: find(task, schedules))


def _pause(context: Context, kind: Kind, name: str, reason: str, *, check: Callable[[str], object]) -> dict[str, Any]:
    if name != pauses.ALL:
        check(name)
    now_ms = context.clock.now_ms()
    context.database.transact(lambda connection: pauses.pause(connection, kind, name, reason=reason, now_ms=now_ms))
    return {"paused": name}


def _resume(context: Context, kind: Kind, name: str, *, check: Callable[[str], object]) -> dict[str, Any]:
    def work(connection: Connection) -> tuple[bool, dict[str, str]]:
        return pauses.resume(connection, kind, name), pauses.reasons(connection, kind)

    resumed, remaining = context.database.transact(work)
    if not resumed and name != pauses.ALL:
        # Checked last: a removed task, or a type without a handler, may still be paused.
        check(name)
    return {"resumed": name if resumed else None, "paused": remaining}
