"""`nightshift schedule …`, `pause` and `resume`: when tasks are due, what happened, and pausing them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from nightshift.cli.options import AsJson, Reason, StageName, TaskName, complete_stage, complete_task
from nightshift.cli.output import UsageError, friendly_errors, plain, print_answer, print_json, print_lines, table
from nightshift.cli.progress import ask, describe

app = typer.Typer(no_args_is_help=True, help="List and check the schedules of tasks.")

ALL = "*"
COLUMNS = ("task", "cron", "zone", "last run", "outcome", "schedule and next fires")
CHECK_COLUMNS = ("task", "where", "schedule", "dropped a day", "EventBridge")
Task = Annotated[str | None, typer.Argument(metavar="TASK", show_default=False, autocompletion=complete_task)]
All = Annotated[bool, typer.Option("--all", help="Every task.")]


@app.command("list")
def list_schedules(as_json: AsJson = False, stage: StageName = None) -> None:
    """List each task's schedule, last run and next fires.

    Example: nightshift schedule list --stage prod
    """
    with friendly_errors():
        tasks = ask(stage, "schedule.list")["tasks"]
        print_answer(tasks, table_lines(tasks), as_json=as_json)


@app.command("next")
def next_fires(
    task: TaskName,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=100, help="How many fires.")] = 5,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Show the next fires of a task.

    Without a stage, of the schedule in this project.

    Example: nightshift schedule next daily_digest -n 20
    """
    with friendly_errors():
        schedule = describe(stage, task, count=count)
        print_answer({"task": task, **schedule}, fire_lines(schedule), as_json=as_json)


@app.command()
def check(
    as_json: AsJson = False,
    stage: Annotated[
        str | None,
        typer.Option("--stage", help="Check only this stage, and app.py.", autocompletion=complete_stage),
    ] = None,
) -> None:
    """Check every schedule of app.py and of .chalice/config.json, without AWS.

    Shows each EventBridge expression, and how many of its fires a day are dropped at most. Exits with 1 if a schedule
    is invalid.

    Example: nightshift schedule check --stage prod
    """
    from nightshift.project.schedule_check import examine

    with friendly_errors():
        findings = list(examine(Path.cwd(), only=stage, now=datetime.now(UTC)))
        if as_json:
            print_json([vars(finding) for finding in findings])
        else:
            rows = [
                (
                    (each.task, each.stage or "app.py", each.schedule, each.surplus),
                    [f"✗ {each.error}" if each.error else each.expression],
                )
                for each in findings
            ]
            print_lines(table(CHECK_COLUMNS, rows))
        if any(finding.error for finding in findings):
            raise typer.Exit(1)


def pause(
    reason: Reason,
    task: Task = None,
    all_: All = False,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Pause the fires of a task, or of every task.

    A run in progress completes, and `nightshift run` still works.

    Example: nightshift pause daily_digest --reason "the provider is down" --stage prod
    """
    with friendly_errors():
        answer = ask(stage, "schedule.pause", task=_which(task, is_all=all_), reason=reason)
        print_answer(answer, [f"Paused {_name(answer['paused'])}."], as_json=as_json)


def resume(task: Task = None, all_: All = False, as_json: AsJson = False, stage: StageName = None) -> None:
    """Resume the fires of a task, or of every task.

    Missed fires follow the task's catch-up policy.

    Example: nightshift resume daily_digest --stage prod
    """
    with friendly_errors():
        name = _which(task, is_all=all_)
        answer = ask(stage, "schedule.resume", task=name)
        done = "Resumed" if answer["resumed"] else "Not paused:"
        remaining = [each for each in answer["paused"].items() if name in (each[0], ALL) or each[0] == ALL]
        lines = [
            f"{done} {_name(name)}.",
            *(f"Still paused: {_name(paused)}: {plain(reason)}" for paused, reason in remaining),
        ]
        print_answer(answer, lines, as_json=as_json)


def table_lines(tasks: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of the tasks in an answer to `schedule.list`."""
    return table(COLUMNS, [_row(task) for task in tasks])


def fire_lines(schedule: Mapping[str, Any]) -> list[str]:
    """Return a schedule in words, and a line for each of its next fires."""
    suffix = schedule["zone"] or "starting at its deployment"
    return [plain(f"{schedule['words']}, {suffix}"), *map(_fire, schedule["next"])]


def _row(task: Mapping[str, Any]) -> tuple[list[object], list[str]]:
    latest, paused = task["latest"] or {}, task["paused"]
    parts = [f"paused since {paused['at']}: {paused['reason']}"] if paused else []
    parts += [latest["error"]] if latest.get("error") else []
    parts += [task["words"], *map(_fire, task["next"])]
    cron = task["cron"] or task["schedule"]
    return [task["task"], cron, task["zone"], latest.get("scheduled_for"), latest.get("status")], parts


def _fire(fire: Mapping[str, str]) -> str:
    local = datetime.fromisoformat(fire["local"])
    text = f"{local:%a %Y-%m-%d %H:%M}"
    return f"{text} UTC" if not local.utcoffset() else f"{text} ({local:%z} = {fire['at']})"


def _which(task: str | None, *, is_all: bool) -> str:
    if (task is None) == (not is_all):
        raise UsageError("name one task, or use --all for every task")
    return task or ALL


def _name(task: str) -> str:
    return "every task" if task == ALL else plain(task)
