"""`nightshift runs …`, `run` and `backfill`: the history of tasks, and running them."""

import json
from collections.abc import Sequence
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from nightshift.cli import progress
from nightshift.cli.options import AsJson, StageName, TaskName, complete_task, read_end, read_time
from nightshift.cli.output import (
    UsageError,
    fields,
    friendly_errors,
    plain,
    plural,
    print_answer,
    print_json,
    print_lines,
    table,
)
from nightshift.cli.progress import ask, describe

app = typer.Typer(no_args_is_help=True, help="Show the history of runs.")

COLUMNS = ("id", "task", "scheduled_for", "status", "attempt", "result")
COUNTS = ("succeeded", "failed", "skipped")
# The exit code of a run that had nothing to do.
SKIPPED = 3


@app.command("list")
def list_runs(
    task: Annotated[str | None, typer.Option(help="Only runs of this task.", autocompletion=complete_task)] = None,
    status: Annotated[str, typer.Option(help="running, succeeded, skipped, failed, dead, missed, or all.")] = "all",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """List runs, latest fire first.

    Example: nightshift runs list --task daily_digest --status dead --stage prod
    """
    with friendly_errors():
        found = ask(stage, "runs.list", task=task, status=status, limit=limit)["runs"]
        rows = [([run[column] for column in COLUMNS[:-1]], _result(run)) for run in found]
        print_answer(found, table(COLUMNS, rows) if found else ["No runs match."], as_json=as_json)


@app.command()
def show(
    run_id: Annotated[str, typer.Argument(metavar="ID", show_default=False)],
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Show a run with its options and checkpoint.

    Secrets are redacted by key, and addresses masked.

    Example: nightshift runs show 0f8fad5b-d9cb-469f-a165-70867728950e --stage prod
    """
    with friendly_errors():
        found = ask(stage, "runs.show", id=run_id)
        print_answer(found, fields(found), as_json=as_json)


def run(
    task: TaskName,
    for_: Annotated[
        str | None, typer.Option("--for", help="The fire to run for. Without a zone, in the task's time zone.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")] = False,
    option: Annotated[
        list[str] | None, typer.Option("--option", help="KEY=VALUE, as JSON or text. Repeatable.")
    ] = None,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Run a task, now or for another fire, and print the summary.

    Exits with 0 if it succeeded or continues on the worker, 3 if it was skipped, 1 if it failed.

    Example: nightshift run daily_digest --for 2026-02-01T08:00 --dry-run --stage prod
    """
    with friendly_errors():
        request = _read_options(option or ())
        # Asked even without --for: its error distinguishes a misspelled task from a function that is not deployed.
        zone = _zone_of(task, stage)
        if for_ is not None:
            request["scheduled_for"] = read_time(for_, zone).isoformat()
        summary = progress.run(stage, task, request | ({"dry_run": True} if dry_run else {}))
        if as_json:
            print_json(summary)
        else:
            print_lines([_summary_line(summary)])
        if summary.get("outcome") == "skipped":
            raise typer.Exit(SKIPPED)


def backfill(
    task: TaskName,
    first: Annotated[
        str, typer.Option("--from", help="The first time or day. Without a zone, in the task's time zone.")
    ],
    last: Annotated[str, typer.Option("--to", help="The last time or day.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list the fires without a run.")] = False,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Enqueue a run for each fire of a period that has no run or only a missed one.

    Example: nightshift backfill daily_digest --from 2026-02-01 --to 2026-02-07 --dry-run --stage prod
    """
    with friendly_errors():
        zone = _zone_of(task, stage)
        period = {"first": read_time(first, zone).isoformat(), "last": read_end(last, zone).isoformat()}
        answer = ask(stage, "schedule.backfill", task=task, **period, dry_run=dry_run)
        fires = answer["missing" if dry_run else "enqueued"]
        done = f"{'Would enqueue' if dry_run else 'Enqueued'} {plural(len(fires), 'run')} of {plain(task)}."
        print_answer(answer, [done, *fires], as_json=as_json)


def _zone_of(task: str, stage: str | None) -> ZoneInfo:
    return ZoneInfo(describe(stage, task, count=0)["zone"] or "UTC")


def _read_options(given: Sequence[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for text in given:
        key, separator, value = text.partition("=")
        if key in {"scheduled_for", "dry_run"}:
            raise UsageError(f"--option {text[:60]} is invalid: use --for or --dry-run instead")
        if not key or not separator or key in options:
            raise UsageError(f"--option {text[:60]} is invalid: use KEY=VALUE, and each key once")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def _summary_line(summary: dict[str, Any]) -> str:
    if summary.get("continues"):
        return plain(f"{summary['task']} continues on the worker. Its run is {summary['run_id']}.")
    counts = ", ".join(f"{summary[count]} {count}" for count in COUNTS)
    why = f": {summary['reason']}" if "reason" in summary else ""
    seconds = summary["duration_ms"] / 1000
    line = f"{summary['task']} {summary['outcome']} for {summary['scheduled_for']} in {seconds:.1f} s ({counts}){why}"
    return plain(line)


def _result(run: dict[str, Any]) -> list[str]:
    counts = [f"{run[count]} {count}" for count in COUNTS if run[count]]
    return ([", ".join(counts)] if counts else []) + ([run["error"]] if run["error"] else [])
