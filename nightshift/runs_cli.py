"""`nightshift runs …`, `run` and `backfill`: the history of tasks, and having them run."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightshift import waiting
from nightshift.completion import complete_task
from nightshift.options import AsJson, StageName, TaskName
from nightshift.terminal import fields, plain, print_json, print_lines, sentences, table, tell
from nightshift.usage import UsageError
from nightshift.waiting import ask, describe

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

app = typer.Typer(no_args_is_help=True, help="See the history of runs.")

COLUMNS = ("id", "task", "scheduled_for", "status", "attempt", "what")
COUNTS = ("succeeded", "failed", "skipped")
# A run that needed nothing done: finished before, or with nothing to do.
SKIPPED = 3


@app.command("list")
def list_runs(
    task: Annotated[str | None, typer.Option(help="Only runs of this task.", autocompletion=complete_task)] = None,
    status: Annotated[str, typer.Option(help="running, succeeded, skipped, failed, dead, missed, or all.")] = "all",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """List runs, that of the latest fire first.

    Example: nightshift runs list --task daily_digest --status dead --stage prod
    """
    with sentences():
        found = ask(stage, "runs.list", task=task, status=status, limit=limit)["runs"]
        if as_json:
            print_json(found)
            return
        rows = [([run[column] for column in COLUMNS[:-1]], _what(run)) for run in found]
        print_lines(table(COLUMNS, rows) if found else ["There are no such runs here."])


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(metavar="ID", show_default=False)],
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Show a run with its options and checkpoint, secrets redacted by key and addresses masked.

    Example: nightshift runs show 0f8fad5b-d9cb-469f-a165-70867728950e --stage prod
    """
    with sentences():
        found = ask(stage, "runs.show", id=run_id)
        tell(found, fields(found), as_json=as_json)


def run(
    task: TaskName,
    for_: Annotated[
        str | None, typer.Option("--for", help="The fire to run for; without a zone, by the clock of the task's.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")] = False,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="KEY=VALUE, JSON or else text; may be repeated.")
    ] = None,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Run a task, now or for another moment, by its own function, and print the summary.

    Exits with 0 when it succeeded or was handed on, 3 when it was skipped, 1 when it failed or was given up.

    Example: nightshift run daily_digest --for 2026-02-01T08:00 --dry-run --stage prod
    """
    from nightshift.moment import read_moment

    with sentences():
        request = _read_options(option or ())
        # Its sentence tells a slip of the keyboard from a function that is not deployed.
        zone = _zone_of(task, stage)
        if for_ is not None:
            request["scheduled_for"] = read_moment(for_, zone).isoformat()
        summary = waiting.run(stage, task, request | ({"dry_run": True} if dry_run else {}))
        if as_json:
            print_json(summary)
        else:
            print_lines([_summarise(summary)])
        if summary.get("outcome") == "skipped":
            raise typer.Exit(SKIPPED)


def backfill(
    task: TaskName,
    first: Annotated[str, typer.Option("--from", help="The first moment or day; without a zone, by the task's clock.")],
    last: Annotated[str, typer.Option("--to", help="The last moment or day.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell which fires have no run.")] = False,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Have a task run for each of its fires in a period that has no run, or only a missed one, by the worker.

    Example: nightshift backfill daily_digest --from 2026-02-01 --to 2026-02-07 --dry-run --stage prod
    """
    from nightshift.moment import read_end, read_moment

    with sentences():
        zone = _zone_of(task, stage)
        period = {"first": read_moment(first, zone).isoformat(), "last": read_end(last, zone).isoformat()}
        answer = ask(stage, "schedule.backfill", task=task, **period, dry_run=dry_run)
        if as_json:
            print_json(answer)
            return
        fires = answer["missing" if dry_run else "enqueued"]
        did = "Would enqueue" if dry_run else "Enqueued"
        print_lines([f"{did} {len(fires)} {'run' if len(fires) == 1 else 'runs'} of {plain(task)}.", *fires])


def _zone_of(task: str, stage: str | None) -> "ZoneInfo":
    from zoneinfo import ZoneInfo

    return ZoneInfo(describe(stage, task, count=0)["zone"] or "UTC")


def _read_options(given: Sequence[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for text in given:
        key, is_given, value = text.partition("=")
        if not key or not is_given or key in options or key in {"scheduled_for", "dry_run"}:
            raise UsageError(
                f"--option {text[:60]} is no KEY=VALUE of its own; the moment is --for, and --dry-run has none"
            )
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def _summarise(summary: dict[str, Any]) -> str:
    if summary.get("handed_on"):
        return plain(f"{summary['task']} goes on by the worker; its run is {summary['run_id']}.")
    counts = ", ".join(f"{summary[count]} {count}" for count in COUNTS)
    why = f": {summary['reason']}" if "reason" in summary else ""
    seconds = summary["duration_ms"] / 1000
    line = f"{summary['task']} {summary['outcome']} for {summary['scheduled_for']} in {seconds:.1f} s ({counts}){why}"
    return plain(line)


def _what(run: dict[str, Any]) -> list[str]:
    counts = [f"{run[count]} {count}" for count in COUNTS if run[count]]
    return ([", ".join(counts)] if counts else []) + ([run["error"]] if run["error"] else [])
