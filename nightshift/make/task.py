"""A new task: the task, its trigger, its memory and time, its policy, a line in the docs, and a test."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chalicelib.operations.schedules import describe
from chalicelib.schedule import Schedule
from nightshift import triggers
from nightshift.deploy import configuration
from nightshift.make import names
from nightshift.make.skeletons import fill, sentence_of

APP, CONFIGURATION, DOCS = "app.py", ".chalice/config.json", "docs/deploy.md"
SETTINGS = {"lambda_memory_size": 512, "lambda_timeout": 300, "reserved_concurrency": 1}
# What a trigger is made of.
NEEDED = frozenset({"scheduled", "_execute", "CloudWatchEvent", "Any"})
DUE_TEST = """
def test_the_moment_is_due() -> None:
    assert app.SCHEDULES["{name}"].is_due(FIRE)

"""


def contents_of(project: Path, name: str, schedule: Schedule, *, now: datetime) -> dict[str, str]:
    """Return what each file is to hold, by its path. Raises ValueError where there can be no such task."""
    known = triggers.read(project)
    tasks = triggers.functions_of(known, "task")
    names.check_form(name)
    names.check_length(project, name)
    names.check_free(project, name, modules=[APP, "chalicelib/tasks/__init__.py"])
    names.check_distinct(name, [trigger.function for trigger in known])
    names.check_alarm(project, name)
    new = {
        f"chalicelib/tasks/{name}.py": fill(
            "task.txt",
            name=name,
            sentence=sentence_of(name),
            # Nobody knows when an interval would have fired.
            catch_up="latest" if schedule.every is None else "skip",
        ),
        f"tests/tasks/test_{name}.py": _test(name, schedule, now=now),
        f".chalice/policies/{name}.json": fill("policy.json", name=name),
    }
    for path in new:
        if (project / path).exists():
            raise ValueError(f"there is {path} already; take another name")
    changed = {
        APP: _with_trigger(_text(project, APP), name, schedule, after=_place(project, known)),
        CONFIGURATION: _with_settings(project, name, tasks),
    }
    if (project / DOCS).exists():
        changed[DOCS] = _with_row(_text(project, DOCS), name, schedule, tasks, now=now)
    return new | changed


def _text(project: Path, path: str) -> str:
    # Not in text mode, which would change the ends of its lines.
    return (project / path).read_bytes().decode("utf-8")


def _place(project: Path, known: Sequence[triggers.Trigger]) -> int:
    """Return the line of app.py behind which a task's trigger belongs: that of the last one, or of `scheduled`."""
    lacking = NEEDED - names.bound_in(project / APP)
    if lacking:
        raise ValueError(f"{APP} has no {', '.join(sorted(lacking))}, of which a task's trigger is made")
    tasks = [each.last_line for each in known if each.kind == "task"]
    return max(tasks) if tasks else triggers.last_line_of(project / APP, "scheduled")


def _with_trigger(source: str, name: str, schedule: Schedule, *, after: int) -> str:
    text = json.dumps(" ".join(schedule.text.split()))
    trigger = fill("trigger.txt", name=name, sentence=sentence_of(name), schedule=text).rstrip("\n")
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


def _with_row(text: str, name: str, schedule: Schedule, tasks: Sequence[str], *, now: datetime) -> str:
    """Return the page with a row behind those of the tasks, or as it is where it has none."""
    lines = text.split("\n")
    rows = [n for n, line in enumerate(lines) for task in tasks if line.startswith(f"| `{task}` |")]
    if rows:
        told = describe(schedule, now, count=0)
        when = f"{told['words'][0].lower()}{told['words'][1:]}" + (f", {told['zone']}" if told["zone"] else "")
        lines.insert(max(rows) + 1, f"| `{name}` | {when} | {sentence_of(name)[:-1].lower()} |")
    return "\n".join(lines)


def _test(name: str, schedule: Schedule, *, now: datetime) -> str:
    minute = now.astimezone(UTC).replace(second=0, microsecond=0)
    fire = minute if schedule.every is not None else schedule.next(now, count=1)[0]
    has_moments = schedule.every is None
    return fill(
        "test_task.txt",
        name=name,
        fire=f"datetime({fire.year}, {fire.month}, {fire.day}, {fire.hour}, {fire.minute}, tzinfo=UTC)",
        import_app="import app\n" if has_moments else "",
        due=DUE_TEST.format(name=name) if has_moments else "",
    )
