"""Asking a deployment's functions, or this machine's own database where no stage is named."""

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chalicelib.operate.looking import LOOKING

if TYPE_CHECKING:
    from chalicelib.schedule.schedule import Schedule

# Of what is asked here: no Lambda ends it.
TIMEOUT_MS = 3_600_000
# What these commands never look at, by their first words: whoever restores has lost enough.
_UNUSED = dict.fromkeys(
    ("WORK_QUEUE_URL", "PRIORITY_QUEUE_URL", "DEAD_LETTER_QUEUE_URL", "SITE_URL", "UNSUBSCRIBE_URL"),
    "https://unused.invalid/",
) | {"MAIL_FROM": "unused@unused.invalid", "SITE_NAME": "unused", "UNSUBSCRIBE_SECRETS": 32 * "u"}
UNUSED = {"backup": _UNUSED, **dict.fromkeys(("schedule", "runs"), _UNUSED | {"BUCKET": "unused"})}
USING_ALL = frozenset({"backup.create", "schedule.backfill"})


def ask(stage: str | None, command: str, **request: Any) -> dict[str, Any]:
    """Return the answer to one command. Raises ValueError, with a sentence, when it cannot be done."""
    wanted = {"command": command} | {key: value for key, value in request.items() if value not in (None, [], ())}
    function = "look" if command in LOOKING else "operate"
    return _ask_here(wanted) if stage is None else _invoke_there(stage, function, wanted)


def run(stage: str | None, task: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Have a task run as the request asks, by its own function, and return the summary.

    Raises ValueError or NightshiftError, with a sentence, when the run fails.
    """
    if stage is not None:
        return _invoke_there(stage, task, request)
    _check_settings()
    with _logging_beside():
        from nightshift.local.invocation import invoke

        summary: dict[str, Any] = invoke(task, request)
    return summary


def describe(stage: str | None, task: str, *, count: int) -> dict[str, Any]:
    """Return a task's schedule and so many of its next fires: in a deployment, or as this project has it.

    Raises InvalidRequestError, which suggests the nearest, for a task that is not there.
    """
    with _logging_beside():
        from chalicelib.operate import schedules

        if stage is None:
            return schedules.describe(schedules.find(task, planned()), datetime.now(UTC), count=count)
        return schedules.find(task, {each["task"]: each for each in ask(stage, "schedule.list", count=count)["tasks"]})


def planned() -> "Mapping[str, Schedule]":
    """Return the schedule of each task, as this project and this shell's settings have it."""
    schedules: Mapping[str, Schedule] = importlib.import_module("app").SCHEDULES
    return schedules


def _invoke_there(stage: str, function: str, request: Mapping[str, Any]) -> dict[str, Any]:
    from nightshift.deploy import functions
    from nightshift.deploy.session import invoker

    return functions.invoke(invoker(), function, stage, request)


def _ask_here(request: Mapping[str, Any]) -> dict[str, Any]:
    from nightshift.local.environment import changed

    _check_settings()
    command = request["command"]
    unused = {} if command in USING_ALL else UNUSED.get(command.partition(".")[0], {})
    with _logging_beside(), changed(**unused | os.environ):
        from chalicelib import operate
        from chalicelib.core.context import from_lambda
        from nightshift.local.invocation import LocalContext

        # A database of this machine that refuses is told of at once: it is not failing over.
        here = from_lambda(LocalContext(function_name="operate", timeout_ms=TIMEOUT_MS), patience_ms=0)
        return operate.operate(request, here, planned())


@contextmanager
def _logging_beside() -> Iterator[None]:
    """Leave standard output to the answer: what functions log, from when their code is imported, goes beside it."""
    with redirect_stdout(sys.stderr):
        yield


def _check_settings() -> None:
    if not os.environ.get("DATABASE_URL"):
        raise ValueError(
            "name a stage with --stage, or set DATABASE_URL and the other settings to work on them directly"
        )
