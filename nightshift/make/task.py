"""A new task: the task, its trigger, its memory and time, its policy, a line in two pages, and a test."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from chalicelib.operate.schedules import describe
from chalicelib.schedule.schedule import Schedule
from nightshift.make import names
from nightshift.make.skeletons import fill, sentence_of
from nightshift.project import configuration, triggers

APP, CONFIGURATION = "app.py", ".chalice/config.json"
DEPLOY_PAGE, SCHEDULES_PAGE = "docs/deploy.md", "docs/schedules.md"
SETTINGS = {"lambda_memory_size": 512, "lambda_timeout": 300, "reserved_concurrency": 1}
# What a trigger is made of.
NEEDED = frozenset({"app", "_execute", "CloudWatchEvent", "Any"})
FAILED_FIRES = '"${FailedFiresQueueArn}"'
DUE_TEST = """
def test_the_moment_is_due() -> None:
    assert app.schedules["{name}"].is_due(FIRE)

"""


def contents_of(
    project: Path, name: str, schedule: Schedule, *, now: datetime, is_for_app: bool = False
) -> dict[str, str]:
    """Return what each file is to hold, by its path; a task for the application enqueues a job of its name.

    Raises ValueError where there can be no such task.
    """
    known = triggers.read(project)
    tasks = triggers.functions_of(known, "task")
    names.check(name, partial(_check, project, known))
    module, test, policy = _paths(name)
    text = " ".join(schedule.text.split())
    # Nobody knows when an interval would have fired.
    catch_up, why = (
        ("latest", "the latest is worth something still, those before it are not")
        if schedule.every is None
        else ("skip", "an interval's fires have no moments that could be made up for")
    )
    template = "task_app.txt" if is_for_app else "task.txt"
    rights = fill("policy.json", name=name)
    if is_for_app:
        rights = rights.replace(FAILED_FIRES, f'"${{WorkQueueArn}}",\n        {FAILED_FIRES}')
    contents = {
        module: fill(template, name=name, sentence=sentence_of(name), schedule=json.dumps(text), catch_up=catch_up),
        test: _test(name, schedule, now=now),
        policy: rights,
        APP: _with_trigger(_text(project, APP), name, text, after=_place(project, known)),
        CONFIGURATION: _with_settings(project, name, tasks),
    }
    rows = {
        DEPLOY_PAGE: f"| `{name}` | {_when(schedule, now=now)} | {sentence_of(name)[:-1].lower()} |",
        SCHEDULES_PAGE: f"| `{name}` | `{text}` | skip | {catch_up} | {why} |",
    }
    pages = {page: row for page, row in rows.items() if (project / page).exists()}
    return contents | {page: _with_row(_text(project, page), row, tasks) for page, row in pages.items()}


def _check(project: Path, known: Sequence[triggers.Trigger], name: str) -> None:
    names.check_length(project, name)
    names.check_free(project, name, modules=[APP, "chalicelib/tasks/__init__.py"])
    names.check_distinct(name, [trigger.function for trigger in known])
    names.check_alarm(project, name)
    names.check_new(project, _paths(name))


def _paths(name: str) -> tuple[str, str, str]:
    return f"chalicelib/tasks/{name}.py", f"tests/tasks/test_{name}.py", f".chalice/policies/{name}.json"


def _text(project: Path, path: str) -> str:
    # Not in text mode, which would change the ends of its lines.
    return (project / path).read_bytes().decode("utf-8")


def _place(project: Path, known: Sequence[triggers.Trigger]) -> int:
    """Return the line of app.py behind which a task's trigger belongs: that of the last task's, or of any trigger."""
    lacking = NEEDED - names.bound_in(project / APP)
    if lacking:
        raise ValueError(f"{APP} has no {', '.join(sorted(lacking))}, of which a task's trigger is made")
    tasks = [each.last_line for each in known if each.kind == "task"]
    return max(tasks or [each.last_line for each in known] or [len(_text(project, APP).splitlines())])


def _with_trigger(source: str, name: str, text: str, *, after: int) -> str:
    filled = fill("trigger.txt", name=name, schedule=json.dumps(text))
    trigger = filled.rstrip("\n")
    lines = source.split("\n")
    end = "\r" if "\r\n" in source else ""
    lines[after:after] = [f"{line}{end}" for line in trigger.split("\n")]
    return "\n".join(lines)


def _with_settings(project: Path, name: str, tasks: Sequence[str]) -> str:
    document = configuration.read(project)
    for stage in document.get("stages", {}).values():
        stage["lambda_functions"] = _with_function(stage.get("lambda_functions", {}), name, tasks)
    is_ascii = _text(project, CONFIGURATION).isascii()
    return json.dumps(document, indent=2, ensure_ascii=is_ascii) + "\n"


def _with_function(functions: Mapping[str, Any], name: str, tasks: Sequence[str]) -> dict[str, Any]:
    """Return the functions with one more, behind the tasks."""
    order = list(functions)
    behind = 1 + max((order.index(task) for task in tasks if task in functions), default=-1)
    items = list(functions.items())
    return dict([*items[:behind], (name, dict(SETTINGS)), *items[behind:]])


def _when(schedule: Schedule, *, now: datetime) -> str:
    told = describe(schedule, now, count=0)
    return f"{told['words'][0].lower()}{told['words'][1:]}" + (f", {told['zone']}" if told["zone"] else "")


def _with_row(page: str, row: str, tasks: Sequence[str]) -> str:
    """Return the page with a row behind those of the tasks, or as it is where it has none."""
    lines = page.split("\n")
    rows = [n for n, line in enumerate(lines) for task in tasks if line.startswith(f"| `{task}` |")]
    if rows:
        lines.insert(max(rows) + 1, row)
    return "\n".join(lines)


def _test(name: str, schedule: Schedule, *, now: datetime) -> str:
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    fire = minute if schedule.every is not None else schedule.next(now, count=1)[0]
    return fill(
        "test_task.txt",
        name=name,
        fire=f"datetime({fire.year}, {fire.month}, {fire.day}, {fire.hour}, {fire.minute}, tzinfo=UTC)",
        due=DUE_TEST.format(name=name) if schedule.every is None else "",
    )
