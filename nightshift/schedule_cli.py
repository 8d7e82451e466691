"""`nightshift schedule …`, `pause` and `resume`: when tasks are due, what became of it, and holding them back."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from nightshift.completion import complete_stage, complete_task
from nightshift.options import AsJson, Reason, StageName, TaskName
from nightshift.schedule_view import lines, tell_when
from nightshift.terminal import plain, print_json, print_lines, sentences, table, tell
from nightshift.usage import UsageError
from nightshift.waiting import ask, describe

app = typer.Typer(no_args_is_help=True, help="See when tasks are due, and what became of it.")

ALL = "*"
Task = Annotated[str | None, typer.Argument(metavar="TASK", show_default=False, autocompletion=complete_task)]
All = Annotated[bool, typer.Option("--all", help="Every task.")]


@app.command("list")
def list_schedules(as_json: AsJson = False, stage: StageName = None) -> None:
    """List each task's schedule, its last run, its next fires in its zone and UTC, and whether it is paused.

    Example: nightshift schedule list --stage prod
    """
    with sentences():
        tasks = ask(stage, "schedule.list")["tasks"]
        tell(tasks, lines(tasks), as_json=as_json)


@app.command("next")
def next_fires(
    task: TaskName,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=100, help="How many.")] = 5,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Tell when a task is due next: in a deployment, or as this project has it.

    Example: nightshift schedule next daily_digest -n 20
    """
    with sentences():
        told = describe(stage, task, count=count)
        tell({"task": task, **told}, tell_when(told), as_json=as_json)


@app.command()
def check(
    as_json: AsJson = False,
    stage: Annotated[
        str | None, typer.Option("--stage", help="Only this stage, beside app.py's own.", autocompletion=complete_stage)
    ] = None,
) -> None:
    """Check every schedule of app.py and every NAME_SCHEDULE of .chalice/config.json, without AWS.

    Tells what EventBridge gets, and how many fires a day that means which are then dropped. Exits with 1 for a bad one.

    Example: nightshift schedule check --stage prod
    """
    from nightshift.schedule_check import examine

    with sentences():
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
            print_lines(table(("task", "where", "schedule", "dropped a day", "EventBridge"), rows))
        if any(finding.error for finding in findings):
            raise typer.Exit(1)


def pause(
    reason: Reason,
    task: Task = None,
    all_: All = False,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Let no fire of a task, or of any, run until it is resumed. A run that has begun ends; `run` still runs it.

    Example: nightshift pause daily_digest --reason "the provider is down" --stage prod
    """
    with sentences():
        answer = ask(stage, "schedule.pause", task=_which(task, is_all=all_), reason=reason)
        tell(answer, [f"Paused {_name(answer['paused'])}."], as_json=as_json)


def resume(task: Task = None, all_: All = False, as_json: AsJson = False, stage: StageName = None) -> None:
    """Let the fires of a task run again, or lift the pause of all. What was missed is made up for as its policy says.

    Example: nightshift resume daily_digest --stage prod
    """
    with sentences():
        wanted = _which(task, is_all=all_)
        answer = ask(stage, "schedule.resume", task=wanted)
        if as_json:
            print_json(answer)
            return
        not_paused = "There was no pause of every task." if wanted == ALL else f"{plain(wanted)} was not paused."
        did = f"Resumed {_name(wanted)}." if answer["resumed"] else not_paused
        still = {name: reason for name, reason in answer["paused"].items() if wanted in (name, ALL) or name == ALL}
        print_lines([did, *(f"Still paused is {_name(name)}: {plain(reason)}" for name, reason in still.items())])


def _which(task: str | None, *, is_all: bool) -> str:
    if (task is None) == (not is_all):
        raise UsageError("name one task, or every one with --all")
    return task or ALL


def _name(task: str) -> str:
    return "every task" if task == ALL else plain(task)
