"""`nightshift worker …`: show, scale and pause the workers of the queues."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nightshift.cli.options import AsJson, Reason, StageName
from nightshift.cli.output import UsageError, friendly_errors, plain, print_answer, print_json, print_lines, table
from nightshift.cli.progress import ask

if TYPE_CHECKING:
    from nightshift.deploy.workers import Messages, Worker

app = typer.Typer(no_args_is_help=True, help="Show, scale and pause the workers of the queues.")

ALL = "*"
# Lambda's limits for the concurrency of an SQS trigger.
MIN_CONCURRENCY, MAX_CONCURRENCY = 2, 1000
COLUMNS = ("queue", "trigger", "at once", "reserved", "sent", "delayed", "taken", "due", "paused", "oldest")


class Queue(StrEnum):
    """The queues, as in the column `queue` of `jobs`."""

    WORK = "work"
    PRIORITY = "priority"


@app.command()
def status(as_json: AsJson = False, stage: StageName = None) -> None:
    """Show each queue's trigger, concurrency, messages, jobs and pauses.

    Example: nightshift worker status --stage prod
    """
    with friendly_errors():
        deployed = {queue: _read(queue, stage) for queue in Queue} if stage else {}
        answer = ask(stage, "status")
        depths = {depth["queue"]: depth for depth in answer["queue"]["depths"]}
        pauses = [pause for pause in answer["pauses"] if pause["kind"] == "job"]
        if as_json:
            workers = {
                queue: {"worker": asdict(worker), "messages": asdict(messages)}
                for queue, (worker, messages) in deployed.items()
            }
            print_json({"workers": workers, "queues": depths, "pauses": pauses})
            return
        print_lines(table(COLUMNS, [_row(queue, deployed.get(queue), depths[queue]) for queue in Queue]))
        print_lines(_pause_lines(pauses))


@app.command()
def scale(
    limit: Annotated[int, typer.Argument(metavar="N", min=MIN_CONCURRENCY, max=MAX_CONCURRENCY, show_default=False)],
    queue: Annotated[Queue, typer.Option(help="The queue of the worker.")] = Queue.WORK,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Set how many batches of a queue run at once, until the next deployment.

    Example: nightshift worker scale 10 --queue priority --stage prod
    """
    with friendly_errors():
        if stage is None:
            raise UsageError("name a stage with --stage: this machine has no workers to scale")
        from nightshift.deploy import workers
        from nightshift.deploy.session import client

        before = workers.read(client("lambda"), queue, stage)
        workers.scale(client("lambda"), before, limit)
        after = workers.read(client("lambda"), queue, stage)
        keep = f"maximum_concurrency={limit} at {workers.FUNCTIONS[queue]} in app.py"
        if after.reserved is not None:
            keep += f' and "reserved_concurrency": {limit} for it in .chalice/config.json'
        reserved = "none" if after.reserved is None else after.reserved
        lines = [
            f"{after.function}: {after.limit} batches at once, reserved {reserved} (was {before.limit or 'any'}).",
            f"The next deployment resets this. To keep it, set {keep}.",
        ]
        print_answer({"before": asdict(before), "after": asdict(after)}, lines, as_json=as_json)


@app.command()
def pause(
    reason: Reason,
    as_json: AsJson = False,
    stage: StageName = None,
) -> None:
    """Pause every job on both queues.

    Jobs in progress complete, and new ones wait.

    Example: nightshift worker pause --reason "the database moves" --stage prod
    """
    with friendly_errors():
        answer = ask(stage, "jobs.pause", type=ALL, reason=reason)
        print_answer(answer, ["Paused every job."], as_json=as_json)


@app.command()
def resume(as_json: AsJson = False, stage: StageName = None) -> None:
    """Resume every job, except types that are paused themselves.

    Example: nightshift worker resume --stage prod
    """
    with friendly_errors():
        answer = ask(stage, "jobs.resume", type=ALL)
        done = "Resumed every job." if answer["resumed"] else "Not paused: every job."
        remaining = [f"Still paused: {plain(name)}: {plain(reason)}" for name, reason in answer["paused"].items()]
        print_answer(answer, [done, *remaining], as_json=as_json)


def _read(queue: Queue, stage: str) -> "tuple[Worker, Messages]":
    from nightshift.deploy import workers
    from nightshift.deploy.session import client

    worker = workers.read(client("lambda"), queue, stage)
    return worker, workers.count(client("sqs"), worker)


def _row(
    queue: Queue, deployed: "tuple[Worker, Messages] | None", depth: Mapping[str, Any]
) -> tuple[list[object], list[object]]:
    cells: list[object] = ["local", *5 * ["–"]]
    if deployed is not None:
        worker, messages = deployed
        limits = ["any" if limit is None else limit for limit in (worker.limit, worker.reserved)]
        cells = [worker.state.lower(), *limits, messages.waiting, messages.delayed, messages.in_work]
    return [queue.value, *cells, depth["waiting"], depth["held_back"]], [depth["oldest_due_at"] or "–"]


def _pause_lines(pauses: list[dict[str, Any]]) -> Iterator[str]:
    for pause in pauses:
        name = "every job" if pause["name"] == ALL else f"jobs of {plain(pause['name'])}"
        yield f"Paused: {name} since {plain(pause['paused_at'])}: {plain(pause['reason'])}"
