"""`nightshift dev`: the whole of it on this machine, now or on another day."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from socket import create_server
from typing import Annotated, TypeVar

import typer

from nightshift.terminal import console, sentences
from nightshift.usage import UsageError

DAY = timedelta(days=1)
SPEED = 3600
FOLDER = Path(".nightshift")
Listening = TypeVar("Listening", bound=AbstractContextManager[object])


def dev(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The page's port; 0 is for one that is free.")] = 0,
    aws_port: Annotated[int, typer.Option(min=0, max=65535, help="The port of SQS, SES and S3; 0 as before.")] = 0,
    at: Annotated[
        str | None,
        typer.Option(help="Replay from this moment on, with what is due then; in UTC, unless it says otherwise."),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Where a replay ends, without what is due then; by default a day later.")
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=1, max=100_000, help=f"How many times as fast a replay goes; {SPEED} by default."),
    ] = None,
    remote: Annotated[bool, typer.Option("--remote", help="The database may be on another machine.")] = False,
) -> None:
    """Live the day here: every schedule fires by the clock, the worker drains, and the status page has buttons.

    SQS, SES and S3 are emulated, and mails go to a folder. The database is that of DATABASE_URL, or a file with a
    made-up blog. Ctrl-C, or closing the terminal, ends it with nothing lost. With --at it replays another day, on a
    database made for it.

    Example: nightshift dev --at 2026-03-29T00:00 --speed 3600
    """
    from nightshift.dev.place import check_database

    with sentences():
        if at is not None:
            _replay(at, until, speed=SPEED if speed is None else speed)
            return
        if until is not None or speed is not None:
            raise UsageError("--until and --speed are those of a replay, and need --at")
        check_database(os.environ.get("DATABASE_URL"), may_be_remote=remote)
        from nightshift.dev.run import live
        from nightshift.dev.server import Server

        with _listening(aws_port, lambda: create_server(("127.0.0.1", aws_port))):
            # The emulator listens later, in a thread, and would wait for ever where it cannot.
            pass
        with _listening(port, lambda: Server(port)) as server:
            live(console, Path.cwd(), FOLDER.absolute() / "dev", server=server, aws_port=aws_port)


def _listening(port: int, listen: Callable[[], Listening]) -> Listening:
    try:
        return listen()
    except OSError as error:
        # Its own text may name the address once more.
        reason = error.strerror if error.errno is None else os.strerror(error.errno)
        raise ValueError(f"port {port} cannot be listened on: {reason}") from None


def _replay(at: str, until: str | None, *, speed: float) -> None:
    from zoneinfo import ZoneInfo

    from nightshift.dev.run import replay
    from nightshift.moment import read_moment

    start = read_moment(at, ZoneInfo("UTC"))
    end = read_moment(until, ZoneInfo("UTC")) if until else start + DAY
    if end <= start:
        raise UsageError("--until must be later than --at")
    replay(console, Path.cwd(), FOLDER.absolute() / "replay", start=start, until=end, speed=speed)
