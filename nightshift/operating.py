"""Asking a deployment's functions, or this machine's own database where no stage is named."""

import importlib
import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chalicelib.schedule import Schedule


def ask(stage: str | None, command: str, **request: Any) -> dict[str, Any]:
    """Return the answer to one command. Raises ValueError, with a sentence, when it cannot be done."""
    wanted = {"command": command} | {key: value for key, value in request.items() if value not in (None, [], ())}
    return _ask_here(wanted) if stage is None else _invoke_there(stage, "operate", wanted)


def run(stage: str | None, task: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Have a task run as the request asks, by its own function, and return the summary.

    Raises ValueError or NightshiftError, with a sentence, when the run fails.
    """
    if stage is not None:
        return _invoke_there(stage, task, request)
    _check_settings()
    # Standard output is for the answer alone; what functions log goes beside it.
    with redirect_stdout(sys.stderr):
        from nightshift.local.invocation import invoke

        summary: dict[str, Any] = invoke(task, request)
    return summary


def planned() -> "Mapping[str, Schedule]":
    """Return the schedule of each task, as this project and this shell's settings have it."""
    schedules: Mapping[str, Schedule] = importlib.import_module("app").SCHEDULES
    return schedules


def _invoke_there(stage: str, function: str, request: Mapping[str, Any]) -> dict[str, Any]:
    from nightshift.deploy import functions
    from nightshift.deploy.session import invoker

    return functions.invoke(invoker(), functions.name_of(function, stage), request)


def _ask_here(request: Mapping[str, Any]) -> dict[str, Any]:
    _check_settings()
    with redirect_stdout(sys.stderr):
        from chalicelib import operations
        from chalicelib.context import from_lambda
        from nightshift.local.invocation import LocalContext

        return operations.operate(request, from_lambda(LocalContext(function_name="operate")), planned())


def _check_settings() -> None:
    if not os.environ.get("DATABASE_URL"):
        raise ValueError(
            "name a stage with --stage, or set DATABASE_URL and the other settings to work on them directly"
        )
