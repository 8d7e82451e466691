"""What an operator may ask of a deployment, from inside it: the database is often reachable from nowhere else."""

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import msgspec

from chalicelib.core.attempt import attempt
from chalicelib.core.context import Context
from chalicelib.core.error_text import named
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.part import Part
from chalicelib.core.redaction import redact
from chalicelib.operate import (
    checks,
    dead_letters,
    job_actions,
    jobs,
    operations,
    pause,
    runs,
    status_commands,
)
from chalicelib.operate import schedules as schedule_commands
from chalicelib.operate.operations import Command, Nothing
from chalicelib.operate.read_only import is_read_only
from chalicelib.schedule.schedule import Schedule

Schedules = Mapping[str, Schedule]


def commands_of(schedules: Schedules, parts: Collection[Part]) -> dict[str, Command]:
    """Return by name the commands of a deployment with these schedules and parts."""
    return {
        "migrate": (Nothing, checks.migrate),
        "check": (Nothing, partial(checks.check, parts=parts)),
        "access": (Nothing, partial(checks.access, parts=parts)),
        "jobs.list": (jobs.Filter, jobs.list_jobs),
        "jobs.show": (jobs.One, jobs.show),
        "jobs.enqueue": (job_actions.Enqueue, job_actions.enqueue),
        "jobs.retry": (jobs.Filter, job_actions.retry),
        "jobs.edit": (job_actions.Edit, job_actions.edit),
        "jobs.forget": (jobs.Filter, job_actions.forget),
        "jobs.cancel": (jobs.One, job_actions.cancel),
        "jobs.redrive": (Nothing, dead_letters.redrive),
        "jobs.pause": (pause.Pause, pause.pause),
        "jobs.resume": (pause.Resume, pause.resume),
        "schedule.list": (schedule_commands.Every, partial(schedule_commands.list_schedules, planned=schedules)),
        "schedule.pause": (schedule_commands.PauseRequest, partial(schedule_commands.pause, planned=schedules)),
        "schedule.resume": (schedule_commands.Resume, partial(schedule_commands.resume, planned=schedules)),
        "schedule.backfill": (schedule_commands.Backfill, partial(schedule_commands.backfill, planned=schedules)),
        "runs.list": (runs.Filter, partial(runs.list_runs, planned=schedules)),
        "runs.show": (runs.One, runs.show),
        "status": (Nothing, partial(status_commands.show, schedules=schedules, parts=parts)),
        "status.page": (Nothing, partial(status_commands.store_page, schedules=schedules, parts=parts)),
        **operations.commands_of(parts),
    }


def look(request: object, context: Context, schedules: Schedules, parts: Collection[Part]) -> dict[str, Any]:
    """Do what `operate` does, of the commands that only read. Raises InvalidRequestError for any other."""
    command = request.get("command") if isinstance(request, Mapping) else None
    if not isinstance(command, str) or not is_read_only(command):
        known = sorted(filter(is_read_only, commands_of(schedules, parts)))
        raise InvalidRequestError(f"look only accepts {', '.join(known)}: invoke operate for other commands")
    return operate(request, context, schedules, parts)


def operate(request: object, context: Context, schedules: Schedules, parts: Collection[Part]) -> dict[str, Any]:
    """Do the one thing that `{"command": …}` names, and return what it found. Raises InvalidRequestError.

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
        read = msgspec.convert({key: value for key, value in request.items() if key != "command"}, kind)
    except msgspec.ValidationError as error:
        words = command.replace(".", " ")
        raise InvalidRequestError(f"{words} cannot be done as asked: {error}") from error
    ended = attempt(lambda: perform(context, read), clock=context.clock, last=True)
    if ended.error is not None:
        failure = named(ended.error)
        # What leaves a function Lambda logs, word for word.
        failure.args = tuple(redact(argument) for argument in failure.args)
        raise failure
    return ended.value or {}
