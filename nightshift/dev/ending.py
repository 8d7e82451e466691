"""How a day ends: at the first Ctrl-C or when its terminal is closed, and what is in work at the second Ctrl-C."""

import asyncio
import os
import signal

from rich.console import Console

from nightshift.dev.day import Day
from nightshift.dev.stream import Stream

ENDING = (
    "Ending: what is in work saves where it is, and jobs that were not begun go back to their queue. "
    "Ctrl-C again kills it, and the next day's watch takes it up."
)


def end_by_signals(console: Console, stream: Stream, day: Day) -> None:
    """Have signals end a day of the loop that runs."""
    loop, terminals = asyncio.get_running_loop(), [number for number in (1, 2) if os.isatty(number)]

    def end() -> None:
        if not day.has_ended:
            stream.is_ending = True
            day.end()
            console.print(ENDING, markup=False)

    def end_or_kill() -> None:
        (day.kill if day.has_ended else end)()

    def hang_up(_number: int, _frame: object) -> None:
        # At once, since the next line would fail.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in terminals:
            os.dup2(nowhere, number)
        os.close(nowhere)
        # It comes twice, from the shell and from the kernel, and perhaps once the day is over.
        if loop.is_running():
            loop.call_soon_threadsafe(end)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end_or_kill)
    # Under nohup it is ignored, and stays so.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, hang_up)
