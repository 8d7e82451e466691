"""`nightshift jobs …`: see and mend the queue, in a deployment or on the database of DATABASE_URL."""

from collections import Counter
from typing import Annotated, Any

import typer

from nightshift.completion import complete_type
from nightshift.terminal import AsJson, JobType, StageName, console, plain, print_json, print_lines, sentences, table
from nightshift.waiting import ask

app = typer.Typer(no_args_is_help=True, help="See and mend the jobs of the queue.")

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of jobs.")]
TypeName = Annotated[str | None, typer.Option("--type", help="Only jobs of this type.", autocompletion=complete_type)]
Words = Annotated[str | None, typer.Option("--error", help="Only jobs whose last error has these words.")]
COLUMNS = ("id", "type", "status", "attempts", "created_at", "last_error")


@app.command("list")
def list_jobs(
    type_: TypeName = None,
    error: Words = None,
    status: Annotated[str, typer.Option(help="Where they stand, or all.")] = "dead",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """List jobs, newest first: those that were given up, unless --status says otherwise.

    Example: nightshift jobs list --type send_email --stage prod
    """
    with sentences():
        found = ask(stage, "jobs.list", type=type_, error=error, status=status, limit=limit)["jobs"]
        if as_json:
            print_json(found)
            return
        nothing = [plain(f"There are no jobs with the status {status} here.")]
        rows = [([job[column] for column in COLUMNS[:-1]], [job["last_error"]]) for job in found]
        print_lines(table(COLUMNS, rows) if found else nothing)


@app.command()
def show(job_id: str, stage: StageName = None) -> None:
    """Show a job with its data, secrets redacted by key and addresses masked.

    Example: nightshift jobs show 0f8fad5b-d9cb-469f-a165-70867728950e --stage prod
    """
    with sentences():
        print_json(ask(stage, "jobs.show", id=job_id))


@app.command()
def retry(ids: Ids = None, type_: TypeName = None, error: Words = None, stage: StageName = None) -> None:
    """Try jobs again that were given up: these, or all of a type or an error.

    Example: nightshift jobs retry --type send_email --error throttled --stage prod
    """
    with sentences():
        _tell("Retried", ask(stage, "jobs.retry", ids=ids, type=type_, error=error, limit=1000)["retried"])


@app.command()
def edit(
    job_id: str,
    data: Annotated[str, typer.Argument(help="The new data, a JSON object.")],
    type_: Annotated[str | None, typer.Option("--type", help="The new type.", autocompletion=complete_type)] = None,
    stage: StageName = None,
) -> None:
    """Give a job other data, and try it.

    Example: nightshift jobs edit 0f8fad5b-d9cb-469f-a165-70867728950e '{"to": "a@example.com"}' --stage prod
    """
    from chalicelib.queue.message import decode_data

    with sentences():
        _tell("Edited", ask(stage, "jobs.edit", id=job_id, data=decode_data(data), type=type_)["edited"])


@app.command()
def forget(
    ids: Ids = None,
    type_: TypeName = None,
    error: Words = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    stage: StageName = None,
) -> None:
    """Delete jobs that were given up, with their dead letters: these, or, when asked, all of a type or an error.

    Example: nightshift jobs forget 0f8fad5b-d9cb-469f-a165-70867728950e --stage prod
    """
    with sentences():
        if not ids and not yes and (type_ or error):
            # Those that were told, and no others that were given up meanwhile.
            ids = _confirm(ask(stage, "jobs.list", type=type_, error=error, limit=1000)["jobs"])
        _tell("Forgot", ask(stage, "jobs.forget", ids=ids, type=type_, error=error, limit=1000)["forgotten"])


@app.command()
def cancel(job_id: str, stage: StageName = None) -> None:
    """Close a job before it is performed.

    Example: nightshift jobs cancel 0f8fad5b-d9cb-469f-a165-70867728950e --stage prod
    """
    with sentences():
        _tell("Cancelled", ask(stage, "jobs.cancel", id=job_id)["cancelled"])


@app.command()
def redrive(stage: StageName = None) -> None:
    """Try everything on the dead-letter queue again, also what SQS itself has put there.

    Example: nightshift jobs redrive --stage prod
    """
    with sentences():
        answer = ask(stage, "jobs.redrive")
        console.print(", ".join(f"{count} {became}" for became, count in answer.items()), markup=False)


@app.command()
def pause(
    type_: JobType,
    reason: Annotated[str, typer.Option(help="Why, for whoever finds it paused.")],
    stage: StageName = None,
) -> None:
    """Let no job of a type begin until it is resumed.

    Example: nightshift jobs pause send_email --reason "SES is down" --stage prod
    """
    with sentences():
        console.print(f"Paused {ask(stage, 'jobs.pause', type=type_, reason=reason)['paused']}.", markup=False)


@app.command()
def resume(type_: JobType, stage: StageName = None) -> None:
    """Let the jobs of a type begin again.

    Example: nightshift jobs resume send_email --stage prod
    """
    with sentences():
        resumed = ask(stage, "jobs.resume", type=type_)["resumed"]
        console.print(f"Resumed {resumed}." if resumed else f"{type_} was not paused.", markup=False)


def _confirm(found: list[dict[str, Any]]) -> list[str]:
    if not found:
        raise ValueError("no job that was given up matches, so nothing is forgotten")
    types = ", ".join(f"{count} {type_}" for type_, count in Counter(job["type"] for job in found).items())
    try:
        is_wanted = typer.confirm(f"Forget for ever: {plain(types)}?", err=True)
    except typer.Abort:
        is_wanted = False
    if not is_wanted:
        raise ValueError("nothing was forgotten; --yes forgets without asking")
    return [job["id"] for job in found]


def _tell(verb: str, ids: list[str]) -> None:
    which = plain(", ".join(ids)) or "none matches"
    console.print(f"{verb} {len(ids)} {'job' if len(ids) == 1 else 'jobs'}: {which}", markup=False)
