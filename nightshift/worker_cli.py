"""`nightshift worker …`: whether the workers work, how many at once, and holding all of them back."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightshift.options import AsJson, Reason, StageName
from nightshift.terminal import plain, print_json, print_lines, sentences, table, tell
from nightshift.usage import UsageError
from nightshift.waiting import ask

if TYPE_CHECKING:
    from nightshift.deploy.workers import Messages, Worker

app = typer.Typer(no_args_is_help=True, help="See, scale and pause the workers of the queues.")

EVERY = "*"
# As few and as many as Lambda takes for an SQS queue.
FEWEST, MOST = 2, 1000
COLUMNS = ("queue", "trigger", "at once", "reserved", "sent", "delayed", "taken", "due", "paused", "oldest")


class Queue(StrEnum):
    """The queues, by the names that rows of `jobs` call them."""

    WORK = "work"
    PRIORITY = "priority"


@app.command()
def status(as_json: AsJson = False, stage: StageName = None) -> None:
    """Show of each queue whether and how many batches at once are taken from it, what waits, and what is paused.

    Example: nightshift worker status --stage prod
    """
    with sentences():
        deployed = {queue: _read(queue, stage) for queue in Queue} if stage else {}
        found = ask(stage, "status")
        depths = {depth["queue"]: depth for depth in found["queue"]["depths"]}
        paused = [pause for pause in found["pauses"] if pause["kind"] == "job"]
        if as_json:
            workers = {
                queue: {"worker": asdict(worker), "messages": asdict(messages)}
                for queue, (worker, messages) in deployed.items()
            }
            print_json({"workers": workers, "queues": depths, "pauses": paused})
            return
        print_lines(table(COLUMNS, [_row(queue, deployed.get(queue), depths[queue]) for queue in Queue]))
        print_lines(_pauses(paused))


@app.command()
def scale(
    limit: Annotated[int, typer.Argument(metavar="N", min=FEWEST, max=MOST, show_default=False)],
    queue: Annotated[Queue, typer.Option(help="Whose worker.")] = Queue.WORK,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Let so many batches of a queue be worked through at once, until the next deployment.

    Example: nightshift worker scale 10 --queue priority --stage prod
    """
    with sentences():
        if stage is None:
            raise UsageError("name a stage with --stage; on this machine there are no workers that could be scaled")
        from nightshift.deploy import workers
        from nightshift.deploy.session import client

        before = workers.read(client("lambda"), queue, stage)
        workers.scale(client("lambda"), before, limit)
        after = workers.read(client("lambda"), queue, stage)
        if as_json:
            print_json({"before": asdict(before), "after": asdict(after)})
            return
        was = "as many as Lambda has" if before.limit is None else before.limit
        reserved = "none" if after.reserved is None else after.reserved
        keep = f"maximum_concurrency={limit} at {workers.FUNCTIONS[queue]} in app.py"
        if after.reserved is not None:
            keep += f', and "reserved_concurrency": {limit} for it in .chalice/config.json'
        print_lines(
            [
                f"{after.function} works through {after.limit} batches at once, and {was} before; {reserved} reserved.",
                f"The next deployment sets what the project says; to keep this, write {keep}.",
            ]
        )


@app.command()
def pause(
    reason: Reason,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Let no job of any type begin until they are resumed. What is being done ends, and what comes waits.

    Example: nightshift worker pause --reason "the database moves" --stage prod
    """
    with sentences():
        answer = ask(stage, "jobs.pause", type=EVERY, reason=reason)
        tell(answer, ["Paused every job."], as_json=as_json)


@app.command()
def resume(as_json: AsJson = False, stage: StageName = None) -> None:
    """Let jobs begin again, but for those of types that are paused by themselves.

    Example: nightshift worker resume --stage prod
    """
    with sentences():
        answer = ask(stage, "jobs.resume", type=EVERY)
        if as_json:
            print_json(answer)
            return
        did = "Resumed every job." if answer["resumed"] else "There was no pause of every job."
        still = [f"Still paused is {plain(name)}: {plain(why)}" for name, why in answer["paused"].items()]
        print_lines([did, *still])


def _read(queue: Queue, stage: str) -> "tuple[Worker, Messages]":
    from nightshift.deploy import workers
    from nightshift.deploy.session import client

    worker = workers.read(client("lambda"), queue, stage)
    return worker, workers.count(client("sqs"), worker)


def _row(
    queue: Queue, deployed: "tuple[Worker, Messages] | None", depth: Mapping[str, Any]
) -> tuple[list[object], list[object]]:
    here: list[object] = ["none here", *5 * ["–"]]
    if deployed is not None:
        worker, messages = deployed
        limits = ["any" if limit is None else limit for limit in (worker.limit, worker.reserved)]
        here = [worker.state.lower(), *limits, messages.waiting, messages.delayed, messages.in_work]
    return [queue.value, *here, depth["waiting"], depth["held_back"]], [depth["oldest_due_at"] or "–"]


def _pauses(paused: list[dict[str, Any]]) -> Iterator[str]:
    for pause in paused:
        name = "every job" if pause["name"] == EVERY else f"jobs of {plain(pause['name'])}"
        yield f"Paused: {name} since {plain(pause['paused_at'])}: {plain(pause['reason'])}"
