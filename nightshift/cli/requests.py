"""Sending a command to a deployment's functions, or running it here on the database of this shell."""

import importlib
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from chalicelib.core.read_only import is_read_only
from nightshift.cli.output import print_error

if TYPE_CHECKING:
    from chalicelib.core.part import Part
    from chalicelib.schedule.schedule import Schedule

# No Lambda limits a command that runs here.
TIMEOUT_MS = 3_600_000
DEMO = Path(".nightshift", "demo", "nightshift.db")
WHERE = "name a stage with --stage, or set DATABASE_URL"


def ask(stage: str | None, command: str, **request: Any) -> dict[str, Any]:
    """Return the answer to a command. Raises ValueError or NightshiftError if it fails."""
    payload = {"command": command} | {key: value for key, value in request.items() if value not in (None, [], ())}
    if stage is not None:
        return _invoke(stage, "look" if is_read_only(command) else "operate", payload)
    # Backups are in a bucket, which neither the demo nor a fresh clone has.
    if os.environ.get("DATABASE_URL") or not is_read_only(command) or command.startswith("backup."):
        return _run_here(payload)
    with _sample_database():
        return _run_here(payload)


def run(stage: str | None, task: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a task by its own function and return the summary. Raises ValueError or NightshiftError if the run fails."""
    if stage is not None:
        return _invoke(stage, task, request)
    _check_settings()
    with _logging_to_stderr():
        from nightshift.local.invocation import invoke

        summary: dict[str, Any] = invoke(task, request)
    return summary


def describe(stage: str | None, task: str, *, count: int) -> dict[str, Any]:
    """Return a task's schedule and its next `count` fires, of a deployment or of this project.

    Raises InvalidRequestError for an unknown task, with the nearest name.
    """
    with _logging_to_stderr():
        from chalicelib.operate import schedules

        if stage is None:
            return schedules.describe(schedules.find(task, project_schedules()), datetime.now(UTC), count=count)
        return schedules.find(task, {each["task"]: each for each in ask(stage, "schedule.list", count=count)["tasks"]})


def project_schedules() -> "Mapping[str, Schedule]":
    """Return the schedule of each task in this project, with the settings of this shell."""
    schedules: Mapping[str, Schedule] = importlib.import_module("app").app.schedules
    return schedules


def project_parts() -> "Collection[Part]":
    """Return the parts that this project's app.py lists."""
    parts: Collection[Part] = importlib.import_module("app").PARTS
    return parts


def _invoke(stage: str, function: str, request: Mapping[str, Any]) -> dict[str, Any]:
    from nightshift.deploy import functions
    from nightshift.deploy.session import invoker

    return functions.invoke(invoker(), function, stage, request)


def _run_here(request: Mapping[str, Any]) -> dict[str, Any]:
    _check_settings()
    with _logging_to_stderr():
        from chalicelib import operate
        from chalicelib.core.context import from_lambda
        from nightshift.local.invocation import LocalContext

        # Without retries: a database of this machine that refuses a connection is not failing over.
        context = from_lambda(LocalContext(function_name="operate", timeout_ms=TIMEOUT_MS), patience_ms=0)
        return operate.operate(request, context, project_schedules(), project_parts())


@contextmanager
def _sample_database() -> Iterator[None]:
    """Read the demo's database, or an empty one where the demo has not run, and say so on standard error."""
    from nightshift.local.environment import changed

    if DEMO.is_file():
        print_error(f"this is the demo's data; for your own, {WHERE}")
        with changed(DATABASE_URL=f"sqlite:///{DEMO.absolute()}"):
            yield
        return
    print_error(f"there is no database here, so only schedules are known: {WHERE}, or run `make demo`")
    with (
        TemporaryDirectory() as folder,
        changed(DATABASE_URL=f"sqlite:///{folder}/nightshift.db"),
        _logging_to_stderr(),
    ):
        from chalicelib import migrations
        from nightshift.local.environment import engine_of

        migrations.upgrade(engine_of(os.environ))
        yield


@contextmanager
def _logging_to_stderr() -> Iterator[None]:
    """Keep standard output for the answer: the logger takes the stream that it finds when it is imported."""
    with redirect_stdout(sys.stderr):
        yield


def _check_settings() -> None:
    if not os.environ.get("DATABASE_URL"):
        raise ValueError(f"no stage and no database: {WHERE}")
