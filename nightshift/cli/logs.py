"""`nightshift logs`: the logs of a deployment's functions, in a readable format."""

import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chalicelib.core.clock import to_ms
from chalicelib.core.error_text import suggestion
from nightshift.cli.options import StageName, complete_function, read_since
from nightshift.cli.output import UsageError, console, friendly_errors, print_error
from nightshift.cli.progress import ask
from nightshift.project import triggers

if TYPE_CHECKING:
    from nightshift.logs.stream import Event, Log, Source

# A run's first lines are logged before its row is written.
BEFORE_MS = 60_000


def logs(
    function: Annotated[
        str,
        typer.Argument(
            metavar="TASK", show_default=False, help="A task, work, watch, …", autocompletion=complete_function
        ),
    ],
    follow: Annotated[bool, typer.Option("--follow", help="Continue until Ctrl-C.")] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", show_default="1h", help="30s, 15m, 2h, 3d, or a time. Without a zone, in UTC."),
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run", help="Only this run, across every function that took part in it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event in full, as one line of JSON.")] = False,
    stage: StageName = None,
) -> None:
    """Show the log of a function, one line per event.

    Example: nightshift logs daily_digest --since 2h --follow --stage prod
    """
    from nightshift.logs import stream

    with friendly_errors(), until_interrupted() as sleep:
        if stage is None:
            raise UsageError("name a stage with --stage; for this machine, nightshift dev shows log lines as it runs")
        with _missing_log_errors(function, stage):
            source = _source(function, run_id, since, stage)
            events = stream.follow(source, report=print_error, sleep=sleep) if follow else source.read()
            count = _print_events(events, as_json=as_json, with_function=run_id is not None)
        if not count:
            print_error("no log events in this period: look further back, for example with --since 3d")


def _source(function: str, run_id: str | None, since: str | None, stage: str) -> "Source":
    from nightshift.logs.run_log import OTHERS, RunLog
    from nightshift.logs.stream import Tail
    from nightshift.project.triggers import ROUTES

    known = [*(trigger.function for trigger in triggers.read(Path.cwd())), ROUTES]
    if function not in known:
        raise ValueError(f"unknown function {function!r:.66}; {suggestion(function, known)}")
    now = datetime.now(UTC)
    if run_id is None:
        return Tail(_log(function, stage), since_ms=read_since("1h" if since is None else since, now=now))
    since_ms = _start_ms(run_id, function, stage) if since is None else read_since(since, now=now)
    names = dict.fromkeys((function, *(name for name in OTHERS if name in known)))
    return RunLog([_log(name, stage) for name in names], task=function, run_id=run_id, since_ms=since_ms)


def _start_ms(run_id: str, task: str, stage: str) -> int:
    run = ask(stage, "runs.show", id=run_id)
    if run["task"] != task:
        raise ValueError(f"run {run_id} is a run of {run['task']}: nightshift logs {run['task']} --run {run_id}")
    return max(to_ms(datetime.fromisoformat(run["started_at"])) - BEFORE_MS, 0)


def _log(function: str, stage: str) -> "Log":
    from nightshift.deploy.session import client
    from nightshift.logs.stream import Log
    from nightshift.project.triggers import name_of

    return Log(logs=client("logs"), function=function, group=f"/aws/lambda/{name_of(function, stage)}")


@contextmanager
def _missing_log_errors(function: str, stage: str) -> Iterator[None]:
    """If there is no log, tell a function that has not run from one that is not deployed."""
    from nightshift.deploy import functions
    from nightshift.deploy.session import client
    from nightshift.logs.stream import NoLogError
    from nightshift.project.triggers import name_of

    try:
        yield
    except NoLogError:
        if not functions.exists(client("lambda"), name_of(function, stage)):
            raise functions.absent(client("lambda"), function, stage) from None
        raise


@contextmanager
def until_interrupted() -> Iterator[Callable[[float], None]]:
    """Yield a function that sleeps for some seconds. End the block quietly at Ctrl-C or SIGTERM."""
    is_over = False

    def end(*_: object) -> None:
        nonlocal is_over
        is_over = True
        raise KeyboardInterrupt

    def sleep(seconds: float) -> None:
        # Python drops an exception that is raised while it finalizes a response.
        if is_over:
            raise KeyboardInterrupt
        time.sleep(seconds)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        # A shell that starts this in the background ignores Ctrl-C for it.
        if handler != signal.SIG_IGN:
            signal.signal(number, end)
    try:
        with suppress(KeyboardInterrupt):
            yield sleep
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_events(events: "Iterable[Event]", *, as_json: bool, with_function: bool) -> int:
    from nightshift.logs.lines import readable

    count = 0
    for event in events:
        count += 1
        function = event.function if with_function else None
        line = _json(event) if as_json else readable(event.text, at=event.at, function=function)
        if line is not None:
            console.print(line, markup=False)
    return count


def _json(event: "Event") -> str:
    from nightshift.logs.lines import fields_of

    at = event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"at": at, "function": event.function, "log": fields_of(event.text) or event.text})
