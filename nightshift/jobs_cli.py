"""`nightshift jobs …`: see and mend the queue, in a deployment or on the database of DATABASE_URL."""

from collections import Counter
from typing import Annotated, Any

import typer

from nightshift.completion import complete_type
from nightshift.options import AsJson, JobType, Reason, StageName
from nightshift.terminal import complain, fields, plain, print_json, print_lines, sentences, table, tell
from nightshift.waiting import ask

app = typer.Typer(no_args_is_help=True, help="See and mend the jobs of the queue.")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of jobs.")]
JobId = Annotated[str, typer.Argument(metavar="ID", show_default=False)]
TypeName = Annotated[str | None, typer.Option("--type", help="Only jobs of this type.", autocompletion=complete_type)]
Words = Annotated[str | None, typer.Option("--error", help="Only jobs whose last error has these words.")]
# Of jobs at once, the most that the operator's function takes.
ROUND = 1000
COLUMNS = ("id", "type", "status", "attempts", "created_at", "last_error")


@app.command("list")
def list_jobs(
    type_: TypeName = None,
    error: Words = None,
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
    """List jobs, newest first: those that were given up, unless --status says otherwise.

    Example: nightshift jobs list --type send_email --stage prod
    """
    with sentences():
        answer = ask(stage, "jobs.list", type=type_, error=error, status=status, limit=limit)
        found = answer["jobs"]
        if "next" in answer and len(found) < limit:
            complain(f"only {len(found)} of the jobs fit into an answer of Lambda: ask for some with --type or --error")
        if as_json:
            print_json(found)
            return
        nothing = [plain(f"There are no jobs with the status {status} here.")]
        rows = [([job[column] for column in COLUMNS[:-1]], [job["last_error"]]) for job in found]
        print_lines(table(COLUMNS, rows) if found else nothing)


@app.command()
def show(job_id: JobId, as_json: AsJson = False, stage: StageName = None) -> None:
    """Show a job with its data, secrets redacted by key and addresses masked.

    Example: nightshift jobs show 0f8fad5b-d9cb-469f-a165-70867728950e --stage prod
    """
    with sentences():
        found = ask(stage, "jobs.show", id=job_id)
        tell(found, fields(found), as_json=as_json)


@app.command()
def retry(
    ids: Ids = None,
    type_: TypeName = None,
    error: Words = None,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Try jobs again that were given up: these, or all of a type or an error.

    Example: nightshift jobs retry --type send_email --error throttled --stage prod
    """
    with sentences():
        _tell("Retried", _all(stage, "jobs.retry", ids=ids, type=type_, error=error), as_json=as_json)


@app.command()
def edit(
    job_id: JobId,
    data: Annotated[str, typer.Argument(help="The new data, a JSON object.")],
    type_: Annotated[str | None, typer.Option("--type", help="The new type.", autocompletion=complete_type)] = None,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Give a job other data, and try it.

    Example: nightshift jobs edit 0f8fad5b-d9cb-469f-a165-70867728950e '{"to": "a@example.com"}' --stage prod
    """
    from chalicelib.queue.message import decode_data

    with sentences():
        answer = ask(stage, "jobs.edit", id=job_id, data=decode_data(data), type=type_)
        _tell("Edited", answer, as_json=as_json)


@app.command()
def forget(
    ids: Ids = None,
    type_: TypeName = None,
    error: Words = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Delete jobs that were given up, with their dead letters: these, or, when asked, all of a type or an error.

    Example: nightshift jobs forget 0f8fad5b-d9cb-469f-a165-70867728950e --stage prod
    """
    with sentences():
        if not ids and not yes and (type_ or error):
            # Those that were told, and no others that were given up meanwhile.
            ids = _confirm(_all(stage, "jobs.list", type=type_, error=error)["jobs"])
        _tell("Forgot", _all(stage, "jobs.forget", ids=ids, type=type_, error=error), as_json=as_json)


@app.command()
def cancel(job_id: JobId, as_json: AsJson = False, stage: StageName = None) -> None:
    """Close a job before it is performed.

    Example: nightshift jobs cancel 0f8fad5b-d9cb-469f-a165-70867728950e --stage prod
    """
    with sentences():
        _tell("Cancelled", ask(stage, "jobs.cancel", id=job_id), as_json=as_json)


@app.command()
def redrive(as_json: AsJson = False, stage: StageName = None) -> None:
    """Try everything on the dead-letter queue again, also what SQS itself has put there.

    Example: nightshift jobs redrive --stage prod
    """
    with sentences():
        answer = ask(stage, "jobs.redrive")
        tell(answer, [", ".join(f"{count} {became}" for became, count in answer.items())], as_json=as_json)


@app.command()
def pause(
    type_: JobType,
    reason: Reason,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Let no job of a type begin until it is resumed.

    Example: nightshift jobs pause send_email --reason "SES is down" --stage prod
    """
    with sentences():
        answer = ask(stage, "jobs.pause", type=type_, reason=reason)
        tell(answer, [f"Paused {plain(answer['paused'])}."], as_json=as_json)


@app.command()
def resume(type_: JobType, as_json: AsJson = False, stage: StageName = None) -> None:
    """Let the jobs of a type begin again.

    Example: nightshift jobs resume send_email --stage prod
    """
    with sentences():
        answer = ask(stage, "jobs.resume", type=type_)
        did = f"Resumed {plain(type_)}." if answer["resumed"] else f"{plain(type_)} was not paused."
        tell(answer, [did], as_json=as_json)


def _all(stage: str | None, command: str, *, ids: list[str] | None = None, **asked: str | None) -> dict[str, Any]:
    """Ask in rounds, each a transaction of its own, and return the answers as one.

    Where a round fails, it is told how many jobs those before were about. Raises as `ask`.
    """
    parts = [ids[n : n + ROUND] for n in range(0, len(ids), ROUND)] if ids else [None]
    together: dict[str, Any] = {}
    for part in parts:
        after = None
        while True:
            answer = None
            try:
                answer = ask(stage, command, ids=part, after=after, limit=ROUND, **asked)
            finally:
                if answer is None and together:
                    done = sum(map(len, together.values()))
                    complain(f"{command.replace('.', ' ')} was through with {done} jobs, and then this happened")
            after = answer.pop("next", None)
            together = {key: together.get(key, []) + found for key, found in answer.items()}
            if after is None:
                break
    return together


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


def _tell(verb: str, answer: dict[str, Any], *, as_json: bool) -> None:
    # The one thing that it tells.
    (ids,) = answer.values()
    which = plain(", ".join(ids)) or "none matches"
    tell(answer, [f"{verb} {len(ids)} {'job' if len(ids) == 1 else 'jobs'}: {which}"], as_json=as_json)
