"""`nightshift dev`: run everything on this machine, live or as a replay, until Ctrl-C."""

import asyncio
import os
import signal
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
from nightshift.dev.log_printer import LogPrinter
from nightshift.dev.runtime import QUEUES, Runtime
from nightshift.dev.scheduler import Scheduler, schedules_of
from nightshift.dev.server import Server
from nightshift.dev.workspace import Workspace, locked, workspace
from nightshift.local.aws import SavedState
from nightshift.local.function import Function, InvocationError
from nightshift.local.invocation import LocalClock
from nightshift.local.servers import serving

# A kill loses what the emulator received since the last save.
SAVE_SECONDS = 0.5
STOPPING = (
    "Stopping: runs save their checkpoints, and waiting jobs go back to their queue. "
    "Ctrl-C again kills what is in progress; the watch of the next start rescues it."
)


def live(console: Console, project: Path, folder: Path, *, server: Server, aws_port: int) -> None:
    """Run from now on, with the status page, until Ctrl-C; keep queues and bucket for the next time.

    Raises ValueError if the folder is in use.
    """
    schedules, base = schedules_of(project, project_schedules()), dict(os.environ)
    clock = LocalClock(ahead_ms=0)
    with (
        locked(folder, empty=False),
        workspace(console, folder, clock=clock, base=base, aws_port=aws_port) as here,
    ):
        state = SavedState(here.aws, folder)
        state.restore()
        console.print(
            f"Page      {server.url}\n          Anyone with this address can press its buttons.", markup=False
        )
        start = from_ms(clock.now_ms())
        try:
            asyncio.run(_run(console, here, project, schedules, start=start, server=server, save=state.save))
        finally:
            state.save()
        console.print(f"Stopped. Queues, bucket and mails are in {folder}", markup=False)


def replay(console: Console, project: Path, folder: Path, *, start: datetime, until: datetime, speed: float) -> None:
    """Run another period, `speed` times as fast, with a new database in an emptied folder.

    Raises ValueError if the folder is in use.
    """
    schedules = schedules_of(project, project_schedules())
    clock = LocalClock(ahead_ms=0)
    clock.set(to_ms(start))
    # The shell's database has nothing to do with that period.
    base = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
    with locked(folder, empty=True), workspace(console, folder, clock=clock, base=base, aws_port=0) as here:
        # Creating the database took time, which is not part of the period.
        clock.set(to_ms(start))
        asyncio.run(_run(console, here, project, schedules, start=start, until=until, speed=speed))


async def _run(
    console: Console,
    here: Workspace,
    project: Path,
    schedules: Mapping[str, Schedule],
    *,
    start: datetime,
    until: datetime | None = None,
    speed: float = 1,
    server: Server | None = None,
    save: Callable[[], None] | None = None,
) -> None:
    printer = LogPrinter(console, here.clock)
    functions = {
        name: Function(name, project=project, clock=here.clock, log=partial(printer.print, name))
        for name in (*schedules, *QUEUES)
    }
    runtime = Runtime(
        functions=functions,
        scheduler=Scheduler(schedules, start=start),
        aws=here.aws,
        clock=here.clock,
        speed=speed,
        log=printer.print,
    )
    console.print(f"Time      from {iso(start)}; {here.aws.endpoint} is SQS, SES and S3\n", markup=False)
    _stop_on_signals(console, printer, runtime)
    saving = asyncio.create_task(_save_repeatedly(here, save))
    with _serving(server, functions):
        await runtime.run(until=until)
    await runtime.close()
    saving.cancel()
    here.write_mails(since=0)


async def _save_repeatedly(here: Workspace, save: Callable[[], None] | None) -> None:
    written = 0
    while True:
        written += here.write_mails(since=written)
        if save is not None:
            save()
        await asyncio.sleep(SAVE_SECONDS)


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


def _stop_on_signals(console: Console, printer: LogPrinter, runtime: Runtime) -> None:
    """Stop at the first Ctrl-C or when the terminal is closed; kill what is in progress at the second Ctrl-C."""
    loop, terminals = asyncio.get_running_loop(), [number for number in (1, 2) if os.isatty(number)]

    def stop() -> None:
        if not runtime.is_stopped:
            printer.is_stopping = True
            runtime.stop()
            console.print(STOPPING, markup=False)

    def stop_or_kill() -> None:
        (runtime.kill if runtime.is_stopped else stop)()

    def hang_up(_number: int, _frame: object) -> None:
        # Immediately, since printing the next line would fail.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in terminals:
            os.dup2(nowhere, number)
        os.close(nowhere)
        # The signal comes twice, from the shell and from the kernel, and perhaps after the loop has ended.
        if loop.is_running():
            loop.call_soon_threadsafe(stop)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop_or_kill)
    # nohup ignores this signal.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, hang_up)
