"""Check schedules before they are deployed: those of app.py, and the overrides of a stage."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from chalicelib.core.error_text import nearest
from chalicelib.core.errors import ConfigurationError
from chalicelib.schedule.eventbridge import rule_of
from chalicelib.schedule.schedule import Schedule
from nightshift.project import configuration, triggers
from nightshift.project.stage import meant

SUFFIX = "_SCHEDULE"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A schedule of app.py, or of a stage that overrides it, with its EventBridge expression or its error.

    `surplus` is how many fires a day are dropped at most.
    """

    task: str
    stage: str | None
    schedule: str
    expression: str | None = None
    surplus: int | None = None
    error: str | None = None


def examine(project: Path, *, only: str | None, now: datetime) -> Iterator[Checked]:
    """Check each schedule of app.py, and of one stage or all. Raises ValueError if a file cannot be read."""
    tasks = {each.function: each.text for each in triggers.read(project) if each.kind == "task"}
    whole = configuration.read(project)
    stages: Mapping[str, Any] = whole.get("stages", {})
    if only is not None and only not in stages:
        hint = meant(only, stages) or f"; there are {', '.join(stages)}"
        raise ValueError(f"unknown stage {only!r} in .chalice/config.json{hint}")
    for task, text in tasks.items():
        yield _check(task, None, text, now=now)
    for stage, settings in stages.items():
        if only in {None, stage}:
            yield from _examine_stage(stage, whole, settings, tasks, now=now)


def _examine_stage(
    stage: str, whole: Mapping[str, Any], settings: Mapping[str, Any], tasks: Mapping[str, str], *, now: datetime
) -> Iterator[Checked]:
    variables = {f"{task.upper()}{SUFFIX}": task for task in tasks}
    environment = _environment(whole) | _environment(settings)
    for variable, text in environment.items():
        if text == "":
            # Overrides nothing.
            continue
        if variable in variables:
            yield _check(variables[variable], stage, text, now=now)
        elif variable.endswith(SUFFIX):
            # Without the suffix, which would make any two names similar.
            close = nearest(variable.removesuffix(SUFFIX).lower(), tasks)
            hint = f"did you mean {close.upper()}{SUFFIX}?" if close else f"there are {', '.join(variables)}"
            yield Checked(task=variable, stage=stage, schedule=str(text), error=f"no task has this name; {hint}")
    for function, own in settings.get("lambda_functions", {}).items():
        for variable, text in _environment(own).items():
            if variable in variables and text != environment.get(variable, ""):
                # Chalice creates the rule from the stage's variables, so the function would drop every fire.
                error = f"move {variable} of {function} to the stage's environment_variables, which its rule follows"
                yield Checked(task=variables[variable], stage=stage, schedule=str(text), error=error)


def _environment(settings: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = settings.get("environment_variables", {})
    return found


def _check(task: str, stage: str | None, text: object, *, now: datetime) -> Checked:
    if not isinstance(text, str):
        return Checked(task=task, stage=stage, schedule=str(text), error="a schedule must be text")
    try:
        rule = rule_of(Schedule(text), now=now)
    except ConfigurationError as error:
        return Checked(task=task, stage=stage, schedule=text, error=str(error))
    return Checked(task=task, stage=stage, schedule=text, expression=rule.expression, surplus=rule.surplus)
