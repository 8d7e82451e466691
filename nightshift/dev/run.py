"""Running the local day: its functions and its page, and how it ends."""

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from chalicelib.clock import from_ms, iso, to_ms
from chalicelib.schedule import Schedule
from nightshift.dev.day import QUEUES, Day
from nightshift.dev.place import Place, place
from nightshift.dev.server import Server
from nightshift.dev.stream import Stream
from nightshift.dev.timetable import Timetable, schedules_of
from nightshift.local.clock import LocalClock
from nightshift.local.function import Function, InvocationError
from nightshift.local.keeping import bring_back, keep
from nightshift.local.serving import serving
from nightshift.operating import planned

ENDING = "Ending: what is in work saves where it is. Ctrl-C again kills it, and the next day's watch takes it up."
MAIL_SECONDS = 0.5


def live(console: Console, project: Path, folder: Path, *, server: Server, aws_port: int) -> None:
    """Live the day from now on, with the page, until Ctrl-C; queues and bucket are kept for the next time."""
    schedules, base = schedules_of(project, planned()), dict(os.environ)
    clock = LocalClock(ahead_ms=0)
    with place(console, project=project, folder=folder, clock=clock, base=base, aws_port=aws_port) as here:
        bring_back(here.aws, folder)
        console.print(
            f"Page      {server.url}\n          Whoever has this address may press its buttons.", markup=False
        )
        try:
            asyncio.run(_live(console, here, schedules, speed=1, until=None, server=server))
        finally:
            keep(here.aws, folder)
        console.print(f"Ended. Queues, bucket and mails are in {folder}", markup=False)


def replay(console: Console, project: Path, folder: Path, *, start: datetime, until: datetime, speed: float) -> None:
    """Live another day, `speed` times as fast, in a folder and with a database that are made anew."""
    schedules = schedules_of(project, planned())
    shutil.rmtree(folder, ignore_errors=True)
    clock = LocalClock(ahead_ms=0)
    clock.set(to_ms(start))
    # Whatever database the shell names has nothing to do with that day.
    base = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    with place(console, project=project, folder=folder, clock=clock, base=base, aws_port=0) as here:
        # Making it took time, which belongs to no day.
        clock.set(to_ms(start))
        asyncio.run(_live(console, here, schedules, speed=speed, until=until, server=None))


async def _live(
    console: Console,
    here: Place,
    schedules: Mapping[str, Schedule],
    *,
    speed: float,
    until: datetime | None,
    server: Server | None,
) -> None:
    stream = Stream(console, here.clock)
    functions = {
        name: Function(name, project=here.project, clock=here.clock, tell=partial(stream.tell, name))
        for name in (*schedules, *QUEUES)
    }
    start = from_ms(here.clock.now_ms())
    day = Day(
        functions=functions,
        timetable=Timetable(schedules, start=start),
        aws=here.aws,
        clock=here.clock,
        speed=speed,
        tell=stream.tell,
    )
    console.print(f"Day       from {iso(start)}; {here.aws.endpoint} is SQS, SES and S3\n", markup=False)
    _end_by_signals(console, day)
    posting = asyncio.create_task(_post(here))
    with _serving(server, functions):
        await day.live(until=until)
    await day.close()
    posting.cancel()
    here.write_mails(since=0)


def _end_by_signals(console: Console, day: Day) -> None:
    """End the day at the first Ctrl-C, and what is in work at the second."""

    def end() -> None:
        if day.has_ended:
            day.kill()
        else:
            console.print(ENDING, markup=False)
            day.end()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)


async def _post(here: Place) -> None:
    written = 0
    while True:
        written += here.write_mails(since=written)
        await asyncio.sleep(MAIL_SECONDS)


@contextmanager
def _serving(server: Server | None, functions: Mapping[str, Function]) -> Iterator[None]:
    if server is None:
        yield
        return
    loop = asyncio.get_running_loop()

    def run(task: str, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            summary: dict[str, Any] = asyncio.run_coroutine_threadsafe(functions[task].invoke(request), loop).result()
        except InvocationError as error:
            raise ValueError(str(error)) from None
        return summary

    server.run = run
    with serving(server):
        yield
