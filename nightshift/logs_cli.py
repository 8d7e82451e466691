"""`nightshift logs`: what a deployment's functions log, so that people can read it."""

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
from nightshift.completion import complete_function
from nightshift.options import StageName
from nightshift.terminal import complain, console, sentences
from nightshift.usage import UsageError
from nightshift.waiting import ask

if TYPE_CHECKING:
    from nightshift.logs.stream import Event, Log, Source

# A run's first lines are written before its row is.
BEFORE_MS = 60_000


def logs(
    function: Annotated[
        str,
        typer.Argument(
            metavar="TASK", show_default=False, help="A task, work, watch, …", autocompletion=complete_function
        ),
    ],
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until Ctrl-C.")] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", show_default="1h", help="30s, 15m, 2h, 3d, or a moment; without a zone, in UTC."),
    ] = None,
    run_id: Annotated[
        str | None, typer.Option("--run", help="Only what is about this run, of every function that had to do with it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event whole, as one line of JSON.")] = False,
    stage: StageName = None,
) -> None:
    """Show what a task's function, or any other, has logged: a line an event, with a traceback below it.

    Example: nightshift logs daily_digest --since 2h --follow --stage prod
    """
    from nightshift.logs import stream

    with sentences(), until_interrupted() as sleep:
        if stage is None:
            raise UsageError(
                "logs are kept of deployments, so name one with --stage; here nightshift dev tells what it runs"
            )
        with _deployed(function, stage):
            source = _source(function, run_id, since, stage)
            events = stream.follow(source, tell=complain, sleep=sleep) if follow else source.read()
            count = _print(events, as_json=as_json, is_story=run_id is not None)
        if not count:
            complain("nothing was logged in this time; --since 3d, say, looks further back")


def _source(function: str, run_id: str | None, since: str | None, stage: str) -> "Source":
    from nightshift import triggers
    from nightshift.deploy.functions import ROUTES
    from nightshift.logs.since import read_since
    from nightshift.logs.story import OTHERS, Story
    from nightshift.logs.stream import Tail

    known = [*(trigger.function for trigger in triggers.read(Path.cwd())), ROUTES]
    if function not in known:
        raise ValueError(f"there is no function {function!r:.66}; {suggestion(function, known)}")
    now = datetime.now(UTC)
    if run_id is None:
        return Tail(_log(function, stage), since_ms=read_since("1h" if since is None else since, now=now))
    since_ms = _begin_ms(run_id, function, stage) if since is None else read_since(since, now=now)
    names = dict.fromkeys((function, *(name for name in OTHERS if name in known)))
    return Story([_log(name, stage) for name in names], task=function, run_id=run_id, since_ms=since_ms)


def _begin_ms(run_id: str, task: str, stage: str) -> int:
    run = ask(stage, "runs.show", id=run_id)
    if run["task"] != task:
        raise ValueError(f"run {run_id} is one of {run['task']}: nightshift logs {run['task']} --run {run_id}")
    return max(to_ms(datetime.fromisoformat(run["started_at"])) - BEFORE_MS, 0)


def _log(function: str, stage: str) -> "Log":
    from nightshift.deploy.functions import name_of
    from nightshift.deploy.session import client
    from nightshift.logs.stream import Log

    return Log(logs=client("logs"), function=function, group=f"/aws/lambda/{name_of(function, stage)}")


@contextmanager
def _deployed(function: str, stage: str) -> Iterator[None]:
    """Tell a function that has not run from a stage that is not there."""
    from nightshift.deploy import functions
    from nightshift.deploy.session import client
    from nightshift.logs.stream import NoLogError

    try:
        yield
    except NoLogError:
        if not functions.exists(client("lambda"), functions.name_of(function, stage)):
            raise functions.absent(client("lambda"), function, stage) from None
        raise


@contextmanager
def until_interrupted() -> Iterator[Callable[[float], None]]:
    """Give what sleeps for some seconds, and end quietly at Ctrl-C or SIGTERM."""
    is_over = False

    def end(*_: object) -> None:
        nonlocal is_over
        is_over = True
        raise KeyboardInterrupt

    def sleep(seconds: float) -> None:
        # What is raised while Python finalizes a response, Python drops.
        if is_over:
            raise KeyboardInterrupt
        time.sleep(seconds)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        # Ctrl-C is not ours where whoever starts this in the background has switched it off.
        if handler != signal.SIG_IGN:
            signal.signal(number, end)
    try:
        with suppress(KeyboardInterrupt):
            yield sleep
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(events: "Iterable[Event]", *, as_json: bool, is_story: bool) -> int:
    from nightshift.logs.lines import readable

    count = 0
    for event in events:
        count += 1
        source = event.function if is_story else None
        line = _json(event) if as_json else readable(event.text, at=event.at, source=source)
        if line is not None:
            console.print(line, markup=False)
    return count


def _json(event: "Event") -> str:
    from nightshift.logs.lines import fields_of

    at = event.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"at": at, "function": event.function, "log": fields_of(event.text) or event.text})
