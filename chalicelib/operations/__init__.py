"""What an operator may ask of a deployment, from inside it: the database is often reachable from nowhere else."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from chalicelib.context import Context
from chalicelib.errors import InvalidRequestError
from chalicelib.operations import checks, dead_letters, flow, jobs, suppressions

# By command: the request that it takes, and what does it.
COMMANDS: dict[str, tuple[Any, Callable[[Context, Any], dict[str, Any]]]] = {
    "migrate": (checks.Nothing, checks.migrate),
    "check": (checks.Nothing, checks.check),
    "jobs.list": (jobs.Filter, jobs.list_jobs),
    "jobs.show": (jobs.One, jobs.show),
    "jobs.retry": (jobs.Filter, jobs.retry),
    "jobs.edit": (jobs.Edit, jobs.edit),
    "jobs.forget": (jobs.Filter, jobs.forget),
    "jobs.cancel": (jobs.One, jobs.cancel),
    "jobs.redrive": (checks.Nothing, dead_letters.redrive),
    "jobs.pause": (flow.Pause, flow.pause),
    "jobs.resume": (flow.Resume, flow.resume),
    "suppressions.list": (suppressions.Newest, suppressions.list_suppressions),
    "suppressions.lift": (suppressions.Address, suppressions.lift),
}


def operate(request: object, context: Context) -> dict[str, Any]:
    """Do the one thing that `{"command": …}` names, and return what it found. Raises InvalidRequestError."""
    command = request.get("command") if isinstance(request, Mapping) else None
    if not isinstance(request, Mapping) or not isinstance(command, str) or command not in COMMANDS:
        raise InvalidRequestError(f"the payload must be an object with a command of {', '.join(COMMANDS)}")
    shape, do = COMMANDS[command]
    try:
        asked = msgspec.convert({key: value for key, value in request.items() if key != "command"}, shape)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"{command} cannot be done as asked: {error}") from error
    return do(context, asked)
