"""Running the local day: its functions and its page, and how it ends."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from chalicelib.core.clock import from_ms, iso, to_ms
from chalicelib.schedule.schedule import Schedule
from nightshift.cli.requests import project_schedules
from nightshift.dev.day import QUEUES, Day
from nightshift.dev.ending import end_by_signals
from nightshift.dev.place import Place, held, place
from nightshift.dev.server import Server
from nightshift.dev.stream import Stream
from nightshift.dev.timetable import Timetable, schedules_of
from nightshift.local.clock import LocalClock
from nightshift.local.function import Function, InvocationError
from nightshift.local.keeping import Keeping
from nightshift.local.serving import serving

# How often what the emulator holds is written down, and so how much a kill of all of it loses.
KEEPING_SECONDS = 0.5


def live(console: Console, project: Path, folder: Path, *, server: Server, aws_port: int) -> None:
    """Live the day from now on, with the page, until Ctrl-C; queues and bucket are kept for the next time.

    Raises ValueError where somebody does so already.
    """
    schedules, base = schedules_of(project, project_schedules()), dict(os.environ)
    clock = LocalClock(ahead_ms=0)
    with (
        held(folder, is_emptied=False),
        place(console, project=project, folder=folder, clock=clock, base=base, aws_port=aws_port) as here,
    ):
        keeping = Keeping(here.aws, folder)
        keeping.bring_back()
        console.print(
            f"Page      {server.url}\n          Whoever has this address may press its buttons.", markup=False
        )
        try:
            asyncio.run(
                _live(console, here, schedules, start=None, until=None, speed=1, server=server, keep=keeping.keep)
            )
        finally:
            keeping.keep()
        console.print(f"Ended. Queues, bucket and mails are in {folder}", markup=False)


def replay(console: Console, project: Path, folder: Path, *, start: datetime, until: datetime, speed: float) -> None:
    """Live another day, `speed` times as fast, in a folder and with a database that are made anew.

    Raises ValueError where somebody does so already.
    """
    schedules = schedules_of(project, project_schedules())
    clock = LocalClock(ahead_ms=0)
    clock.set(to_ms(start))
    # Whatever database the shell names has nothing to do with that day.
    base = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    with (
        held(folder, is_emptied=True),
        place(console, project=project, folder=folder, clock=clock, base=base, aws_port=0) as here,
    ):
        # Making it took time, which belongs to no day.
        clock.set(to_ms(start))
        asyncio.run(
            _live(console, here, schedules, start=start, until=until, speed=speed, server=None, keep=lambda: None)
        )


async def _live(
    console: Console,
    here: Place,
    schedules: Mapping[str, Schedule],
    *,
    start: datetime | None,
    until: datetime | None,
    speed: float,
    server: Server | None,
    keep: Callable[[], None],
) -> None:
    stream = Stream(console, here.clock)
    functions = {
        name: Function(name, project=here.project, clock=here.clock, tell=partial(stream.tell, name))
        for name in (*schedules, *QUEUES)
    }
    start = start or from_ms(here.clock.now_ms())
    day = Day(
        functions=functions,
        timetable=Timetable(schedules, start=start),
        aws=here.aws,
        clock=here.clock,
        speed=speed,
        tell=stream.tell,
    )
    console.print(f"Day       from {iso(start)}; {here.aws.endpoint} is SQS, SES and S3\n", markup=False)
    end_by_signals(console, stream, day)
    writing = asyncio.create_task(_write_down(here, keep))
    with _serving(server, functions):
        await day.live(until=until)
    await day.close()
    writing.cancel()
    here.write_mails(since=0)


async def _write_down(here: Place, keep: Callable[[], None]) -> None:
    written = 0
    while True:
        written += here.write_mails(since=written)
        keep()
        await asyncio.sleep(KEEPING_SECONDS)


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
