"""An operator's commands, performed inside the deployment: often only its functions can reach the database."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import msgspec

from chalicelib.core.attempt import attempt
from chalicelib.core.context import Context
from chalicelib.core.error_text import named
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.part import Part
from chalicelib.core.read_only import is_read_only
from chalicelib.core.redaction import redact
from chalicelib.operate import (
    checks,
    dead_letters,
    job_actions,
    jobs,
    operations,
    pause,
    runs,
)
from chalicelib.operate.operations import Command, Nothing
from chalicelib.operate.schedules import Backfill, ListSchedules, backfill, list_schedules
from chalicelib.operate.status.page import store_page
from chalicelib.operate.status.status import show
from chalicelib.schedule.schedule import Schedule

Schedules = Mapping[str, Schedule]


def commands_of(schedules: Schedules, parts: Collection[Part]) -> dict[str, Command]:
    """Return by name the commands of a deployment with these schedules and parts."""
    return {
        "migrate": (Nothing, checks.migrate),
        "check": (Nothing, partial(checks.check, parts=parts)),
        "access": (Nothing, partial(checks.access, parts=parts)),
        "jobs.list": (jobs.JobFilter, jobs.list_jobs),
        "jobs.show": (jobs.OneJob, jobs.show),
        "jobs.enqueue": (job_actions.Enqueue, job_actions.enqueue),
        "jobs.retry": (jobs.JobFilter, job_actions.retry),
        "jobs.edit": (job_actions.Edit, job_actions.edit),
        "jobs.forget": (jobs.JobFilter, job_actions.forget),
        "jobs.cancel": (jobs.OneJob, job_actions.cancel),
        "jobs.redrive": (Nothing, dead_letters.redrive),
        "jobs.pause": (pause.PauseJobs, pause.pause_jobs),
        "jobs.resume": (pause.ResumeJobs, pause.resume_jobs),
        "schedule.list": (ListSchedules, partial(list_schedules, schedules=schedules)),
        "schedule.pause": (pause.PauseTask, partial(pause.pause_task, schedules=schedules)),
        "schedule.resume": (pause.ResumeTask, partial(pause.resume_task, schedules=schedules)),
        "schedule.backfill": (Backfill, partial(backfill, schedules=schedules)),
        "runs.list": (runs.ListRuns, partial(runs.list_runs, schedules=schedules)),
        "runs.show": (runs.ShowRun, runs.show),
        "status": (Nothing, partial(show, schedules=schedules, parts=parts)),
        "status.page": (Nothing, partial(store_page, schedules=schedules, parts=parts)),
        **operations.commands_of(parts),
    }


def look(request: object, context: Context, schedules: Schedules, parts: Collection[Part]) -> dict[str, Any]:
    """Perform a command that only reads, as `operate` does. Raises InvalidRequestError for any other."""
    command = request.get("command") if isinstance(request, Mapping) else None
    if not isinstance(command, str) or not is_read_only(command):
        known = sorted(filter(is_read_only, commands_of(schedules, parts)))
        raise InvalidRequestError(f"look only accepts {', '.join(known)}: invoke operate for other commands")
    return operate(request, context, schedules, parts)


def operate(request: object, context: Context, schedules: Schedules, parts: Collection[Part]) -> dict[str, Any]:
    """Perform the command that `{"command": …}` names, and return its answer. Raises InvalidRequestError.

    `schedules` are those of all tasks, and `parts` those of the deployment.
    """
    commands = commands_of(schedules, parts)
    command = request.get("command") if isinstance(request, Mapping) else None
    if not isinstance(request, Mapping) or not isinstance(command, str) or command not in commands:
        if isinstance(command, str) and (part := operations.find_owner(command)):
            raise InvalidRequestError(f"{command} is a command of the part {part}, which PARTS in app.py leaves out")
        raise InvalidRequestError(f"the payload must be an object with a command of {', '.join(commands)}")
    kind, perform = commands[command]
    try:
        arguments = msgspec.convert({key: value for key, value in request.items() if key != "command"}, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"the request {command.replace('.', ' ')} is not valid: {error}") from error
    ended = attempt(lambda: perform(context, arguments), clock=context.clock, last=True)
    if ended.error is not None:
        failure = named(ended.error)
        # Lambda logs the error that a function raises.
        failure.args = tuple(redact(argument) for argument in failure.args)
        raise failure
    return ended.value or {}
