"""`nightshift dev` and `demo`: everything on this machine."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from socket import create_server
from typing import Annotated, TypeVar
from zoneinfo import ZoneInfo

import typer

from nightshift.cli.options import read_time
from nightshift.cli.output import UsageError, console, friendly_errors

DAY = timedelta(days=1)
SPEED = 3600
FOLDER = Path(".nightshift")
Listening = TypeVar("Listening", bound=AbstractContextManager[object])


def demo(
    posts: Annotated[
        Path | None, typer.Option(help="A CSV file of real posts with id, title, url, num_points, …")
    ] = None,
    users: Annotated[int, typer.Option(min=1, help="The number of users of the sample blog.")] = 300,
    folder: Annotated[Path, typer.Option(help="Where to write mails, report and log.")] = Path(".nightshift/demo"),
) -> None:
    """Run every task and the queue on this machine for a sample blog.

    Uses an SQLite file, or the empty database of DATABASE_URL. With REDIS_URL, mails are paced through Redis.

    Example: nightshift demo --users 1000
    """
    from nightshift.demo.run import run_demo

    with friendly_errors():
        run_demo(console, folder.absolute(), user_count=users, posts_csv=posts)


def dev(
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port of the page. 0: any free port.")] = 0,
    aws_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port of the emulated SQS, SES and S3. 0: the previous one.")
    ] = 0,
    at: Annotated[
        str | None, typer.Option(help="Replay from this time on, including its fires. Without a zone, in UTC.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Where a replay ends, excluding its fires. Default: a day later.")
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=1, max=100_000, help=f"How many times faster than real time to replay. Default: {SPEED}."),
    ] = None,
    remote: Annotated[bool, typer.Option("--remote", help="Allow a database on another machine.")] = False,
) -> None:
    """Run everything on this machine.

    Tasks fire on schedule, the worker runs jobs, and the status page has buttons. SQS, SES and S3 are emulated, and
    mails go to a folder. Uses the database of DATABASE_URL, or a file with a sample blog. Ctrl-C stops it and loses
    nothing. With --at it replays another day on a new database.

    Example: nightshift dev --at 2026-03-29T00:00 --speed 3600
    """
    from nightshift.dev.workspace import check_database

    with friendly_errors():
        if at is not None:
            _replay(at, until, speed=SPEED if speed is None else speed)
            return
        if until is not None or speed is not None:
            raise UsageError("--until and --speed are for a replay: add --at")
        check_database(os.environ.get("DATABASE_URL"), allow_remote=remote)
        from nightshift.dev.run import live
        from nightshift.dev.server import Server

        with _listening(aws_port, lambda: create_server(("127.0.0.1", aws_port))):
            # The emulator binds the port later, in a thread, and would wait forever if it could not.
            pass
        with _listening(port, lambda: Server(port)) as server:
            live(console, Path.cwd(), FOLDER.absolute() / "dev", server=server, aws_port=aws_port)


def _listening(port: int, listen: Callable[[], Listening]) -> Listening:
    try:
        return listen()
    except OSError as error:
        # The error's own text may repeat the address.
        reason = error.strerror if error.errno is None else os.strerror(error.errno)
        raise ValueError(f"cannot listen on port {port}: {reason}") from None


def _replay(at: str, until: str | None, *, speed: float) -> None:
    from nightshift.dev.run import replay

    start = read_time(at, ZoneInfo("UTC"))
    end = read_time(until, ZoneInfo("UTC")) if until else start + DAY
    if end <= start:
        raise UsageError("--until must be later than --at")
    replay(console, Path.cwd(), FOLDER.absolute() / "replay", start=start, until=end, speed=speed)
