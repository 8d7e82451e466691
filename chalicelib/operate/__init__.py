"""What an operator may ask of a deployment, from inside it: the database is often reachable from nowhere else."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from chalicelib.core.attempt import attempt
from chalicelib.core.context import Context
from chalicelib.core.error_text import named
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.redaction import redact
from chalicelib.operate import (
    backups,
    checks,
    dead_letters,
    job_actions,
    jobs,
    pause,
    runs,
    schedules,
    status_commands,
    suppressions,
)
from chalicelib.operate.read_only import READ_ONLY_COMMANDS
from chalicelib.schedule.schedule import Schedule

# By command: the request that it takes, and what does it.
COMMANDS: dict[str, tuple[Any, Callable[[Context, Any], dict[str, Any]]]] = {
    "migrate": (checks.Nothing, checks.migrate),
    "check": (checks.Nothing, checks.check),
    "access": (checks.Nothing, checks.access),
    "jobs.list": (jobs.Filter, jobs.list_jobs),
    "jobs.show": (jobs.One, jobs.show),
    "jobs.enqueue": (job_actions.Enqueue, job_actions.enqueue),
    "jobs.retry": (jobs.Filter, job_actions.retry),
    "jobs.edit": (job_actions.Edit, job_actions.edit),
    "jobs.forget": (jobs.Filter, job_actions.forget),
    "jobs.cancel": (jobs.One, job_actions.cancel),
    "jobs.redrive": (checks.Nothing, dead_letters.redrive),
    "jobs.pause": (pause.Pause, pause.pause),
    "jobs.resume": (pause.Resume, pause.resume),
    "backup.list": (checks.Nothing, backups.list_backups),
    "backup.create": (checks.Nothing, backups.create),
    "backup.verify": (backups.One, backups.verify),
    "backup.drill": (backups.One, backups.drill),
    "backup.restore": (backups.Restore, backups.restore),
    "backup.prune": (backups.Prune, backups.prune),
    "runs.show": (runs.One, runs.show),
    "suppressions.list": (suppressions.Newest, suppressions.list_suppressions),
    "suppressions.lift": (suppressions.Address, suppressions.lift),
}

# The same, for what also needs to know the schedule of each task.
OF_SCHEDULES: dict[str, tuple[Any, Callable[[Context, Any, Mapping[str, Schedule]], dict[str, Any]]]] = {
    "schedule.list": (schedules.Every, schedules.list_schedules),
    "schedule.pause": (schedules.PauseRequest, schedules.pause),
    "schedule.resume": (schedules.Resume, schedules.resume),
    "schedule.backfill": (schedules.Backfill, schedules.backfill),
    "runs.list": (runs.Filter, runs.list_runs),
    "status": (checks.Nothing, status_commands.show),
    "status.page": (checks.Nothing, status_commands.store_page),
}


def look(request: object, context: Context, planned: Mapping[str, Schedule]) -> dict[str, Any]:
    """Do what `operate` does, of the commands that only read. Raises InvalidRequestError for any other."""
    command = request.get("command") if isinstance(request, Mapping) else None
    if command not in READ_ONLY_COMMANDS:
        raise InvalidRequestError(
            f"look only accepts {', '.join(sorted(READ_ONLY_COMMANDS))}: invoke operate for other commands"
        )
    return operate(request, context, planned)


def operate(request: object, context: Context, planned: Mapping[str, Schedule]) -> dict[str, Any]:
    """Do the one thing that `{"command": …}` names, and return what it found. Raises InvalidRequestError.

    `planned` is the schedule of each task.
    """
    command = request.get("command") if isinstance(request, Mapping) else None
    shapes = {name: shape for name, (shape, _) in (COMMANDS | OF_SCHEDULES).items()}
    if not isinstance(request, Mapping) or not isinstance(command, str) or command not in shapes:
        raise InvalidRequestError(f"the payload must be an object with a command of {', '.join(shapes)}")
    try:
        asked = msgspec.convert({key: value for key, value in request.items() if key != "command"}, shapes[command])
    except msgspec.ValidationError as error:
        words = command.replace(".", " ")
        raise InvalidRequestError(f"{words} cannot be done as asked: {error}") from error
    ended = attempt(lambda: _do(command, asked, context, planned), clock=context.clock, last=True)
    if ended.error is not None:
        failure = named(ended.error)
        # What leaves a function Lambda logs, word for word.
        failure.args = tuple(redact(argument) for argument in failure.args)
        raise failure
    return ended.value or {}


def _do(command: str, asked: Any, context: Context, planned: Mapping[str, Schedule]) -> dict[str, Any]:
    if command in OF_SCHEDULES:
        return OF_SCHEDULES[command][1](context, asked, planned)
    return COMMANDS[command][1](context, asked)
