"""`nightshift jobs …` and `enqueue`: list, change and add the jobs of the queue."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from nightshift.cli.options import AsJson, JobType, Reason, StageName, complete_type, read_time
from nightshift.cli.output import fields, friendly_errors, plain, plural, print_answer, print_error, table
from nightshift.cli.progress import ask

app = typer.Typer(no_args_is_help=True, help="List, retry, edit and remove jobs of the queue.")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Job ids.")]
JobId = Annotated[str, typer.Argument(metavar="ID", show_default=False)]
TypeName = Annotated[str | None, typer.Option("--type", help="Only jobs of this type.", autocompletion=complete_type)]
ErrorText = Annotated[str | None, typer.Option("--error", help="Only jobs whose last error contains this text.")]
# The most jobs that `operate` accepts in one request.
BATCH = 1000
COLUMNS = ("id", "type", "status", "attempts", "created_at", "last_error")


def enqueue(
    type_: JobType,
    data: Annotated[str, typer.Option(help="A JSON object, @FILE to read a file, or - for standard input.")] = "{}",
    run_at: Annotated[
        str | None, typer.Option("--run-at", help="The earliest time to run it. Without a zone, in UTC.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="An idempotency key. Only one job of the type may have it.")
    ] = None,
    priority: Annotated[bool, typer.Option("--priority", help="Use the priority queue.")] = False,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Enqueue a job and print its id.

    Example: nightshift enqueue send_email --data @mail.json --run-at 2026-12-01T09:00 --key welcome-7 --stage prod
    """
    from chalicelib.queue.message import decode_data

    with friendly_errors():
        moment = None if run_at is None else read_time(run_at, ZoneInfo("UTC")).isoformat()
        # An empty key, such as an unset shell variable, is rejected by the command.
        answer = ask(
            stage,
            "jobs.enqueue",
            type=type_,
            data=decode_data(_read_data(data)),
            run_at=moment,
            idempotency_key=key,
            queue="priority" if priority else "work",
        )
        is_new = answer["is_new"]
        done = f"Enqueued {answer['id']}." if is_new else f"Not enqueued: job {answer['id']} has this key."
        print_answer(answer, [done], as_json=as_json)


@app.command("list")
def list_jobs(
    type_: TypeName = None,
    error: ErrorText = None,
    status: Annotated[
        str,
        typer.Option(
            metavar="STATUS",
            help="pending, claimed, processing, completed, failed, dead, cancelled, expired, or all.",
        ),
    ] = "dead",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """List jobs, newest first. By default the dead ones.

    Example: nightshift jobs list --type send_email --stage prod
    """
    with friendly_errors():
        answer = ask(stage, "jobs.list", type=type_, error=error, status=status, limit=limit)
        found = answer["jobs"]
        if "next" in answer and len(found) < limit:
            print_error(f"only {len(found)} jobs fit into an answer of Lambda: narrow it with --type or --error")
        rows = [([job[column] for column in COLUMNS[:-1]], [job["last_error"]]) for job in found]
        nothing = [plain(f"No jobs with status {status} match.")]
        print_answer(found, table(COLUMNS, rows) if found else nothing, as_json=as_json)


@app.command()
def show(job_id: JobId, as_json: AsJson = False, stage: StageName = None) -> None:
    """Show a job with its data.

    Secrets are redacted by key, and addresses masked.

    Example: nightshift jobs show 0f8fad5b-d9cb-469f-a165-70867728950e --stage prod
    """
    with friendly_errors():
        found = ask(stage, "jobs.show", id=job_id)
        print_answer(found, fields(found), as_json=as_json)


@app.command()
def retry(
    ids: Ids = None,
    type_: TypeName = None,
    error: ErrorText = None,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Retry dead jobs: by id, or all of a type or an error.

    Example: nightshift jobs retry --type send_email --error throttled --stage prod
    """
    with friendly_errors():
        _print_ids("Retried", _ask_in_batches(stage, "jobs.retry", ids=ids, type=type_, error=error), as_json=as_json)


@app.command()
def edit(
    job_id: JobId,
    data: Annotated[str, typer.Argument(help="The new data, a JSON object.")],
    type_: Annotated[str | None, typer.Option("--type", help="The new type.", autocompletion=complete_type)] = None,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Change the data of a waiting or dead job, and retry it.

    Example: nightshift jobs edit 0f8fad5b-d9cb-469f-a165-70867728950e '{"to": "a@example.com"}' --stage prod
    """
    from chalicelib.queue.message import decode_data

    with friendly_errors():
        answer = ask(stage, "jobs.edit", id=job_id, data=decode_data(data), type=type_)
        _print_ids("Edited", answer, as_json=as_json)


@app.command()
def forget(
    ids: Ids = None,
    type_: TypeName = None,
    error: ErrorText = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Delete dead jobs and their dead letters: by id, or all of a type or an error.

    Example: nightshift jobs forget 0f8fad5b-d9cb-469f-a165-70867728950e --stage prod
    """
    with friendly_errors():
        if not ids and not yes and (type_ or error):
            # Exactly the jobs that were confirmed, and none that died meanwhile.
            ids = _confirm(_ask_in_batches(stage, "jobs.list", type=type_, error=error)["jobs"])
        _print_ids("Deleted", _ask_in_batches(stage, "jobs.forget", ids=ids, type=type_, error=error), as_json=as_json)


@app.command()
def cancel(job_id: JobId, as_json: AsJson = False, stage: StageName = None) -> None:
    """Cancel a waiting job.

    Example: nightshift jobs cancel 0f8fad5b-d9cb-469f-a165-70867728950e --stage prod
    """
    with friendly_errors():
        _print_ids("Cancelled", ask(stage, "jobs.cancel", id=job_id), as_json=as_json)


@app.command()
def redrive(as_json: AsJson = False, stage: StageName = None) -> None:
    """Retry every message on the dead-letter queue, including those that SQS moved there.

    Example: nightshift jobs redrive --stage prod
    """
    with friendly_errors():
        answer = ask(stage, "jobs.redrive")
        print_answer(answer, [", ".join(f"{count} {result}" for result, count in answer.items())], as_json=as_json)


@app.command()
def pause(
    type_: JobType,
    reason: Reason,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Pause the jobs of a type.

    Jobs in progress complete.

    Example: nightshift jobs pause send_email --reason "SES is down" --stage prod
    """
    with friendly_errors():
        answer = ask(stage, "jobs.pause", type=type_, reason=reason)
        print_answer(answer, [f"Paused {plain(answer['paused'])}."], as_json=as_json)


@app.command()
def resume(type_: JobType, as_json: AsJson = False, stage: StageName = None) -> None:
    """Resume the jobs of a type.

    Example: nightshift jobs resume send_email --stage prod
    """
    with friendly_errors():
        answer = ask(stage, "jobs.resume", type=type_)
        done = f"Resumed {plain(type_)}." if answer["resumed"] else f"{plain(type_)} was not paused."
        print_answer(answer, [done], as_json=as_json)


def _ask_in_batches(
    stage: str | None, command: str, *, ids: list[str] | None = None, **request: str | None
) -> dict[str, Any]:
    """Send a request in batches, each its own transaction, and return the combined answers.

    If a batch fails, print how many jobs were done before it. Raises as `ask`.
    """
    parts = [ids[n : n + BATCH] for n in range(0, len(ids), BATCH)] if ids else [None]
    combined: dict[str, Any] = {}
    for part in parts:
        after = None
        while True:
            answer = None
            try:
                answer = ask(stage, command, ids=part, after=after, limit=BATCH, **request)
            finally:
                if answer is None and combined:
                    done = sum(map(len, combined.values()))
                    print_error(f"{command.replace('.', ' ')} failed after {done} jobs")
            after = answer.pop("next", None)
            combined = {key: combined.get(key, []) + found for key, found in answer.items()}
            if after is None:
                break
    return combined


def _confirm(found: list[dict[str, Any]]) -> list[str]:
    if not found:
        raise ValueError("no dead job matches; nothing was deleted")
    types = ", ".join(f"{count} {type_}" for type_, count in Counter(job["type"] for job in found).items())
    try:
        is_confirmed = typer.confirm(f"Delete permanently: {plain(types)}?", err=True)
    except typer.Abort:
        is_confirmed = False
    if not is_confirmed:
        raise ValueError("nothing was deleted; use --yes to skip the confirmation")
    return [job["id"] for job in found]


def _print_ids(verb: str, answer: dict[str, Any], *, as_json: bool) -> None:
    (ids,) = answer.values()
    which = plain(", ".join(ids)) or "none match"
    print_answer(answer, [f"{verb} {plural(len(ids), 'job')}: {which}"], as_json=as_json)


def _read_data(data: str) -> str:
    if data != "-" and not data.startswith("@"):
        return data
    name = "standard input" if data == "-" else data[1:]
    try:
        return (sys.stdin.buffer.read() if data == "-" else Path(name).read_bytes()).decode()
    except OSError as error:
        raise ValueError(f"cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 text: {error}") from error
