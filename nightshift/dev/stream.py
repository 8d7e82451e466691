"""What the functions log, on the terminal: readable, by the day's own clock, and without what nothing came of."""

from rich.console import Console

from chalicelib.clock import from_ms
from nightshift.local.clock import LocalClock
from nightshift.logs.lines import fields_of, readable

# They come every few minutes, and mostly there is nothing for them to do.
ROUTINE = ("dispatch", "watch")


class Stream:
    """Prints the lines of functions."""

    def __init__(self, console: Console, clock: LocalClock) -> None:
        self._console = console
        self._clock = clock

    def tell(self, function: str, line: str) -> None:
        """Print a line that a function has logged, or that there is to say of it."""
        if not _is_routine(line):
            text = readable(line, at=from_ms(self._clock.now_ms()), source=function)
            if text is not None:
                self._console.print(text, markup=False)


def _is_routine(line: str) -> bool:
    fields = fields_of(line)
    return fields.get("task") in ROUTINE and fields.get("level") in {"DEBUG", "INFO"} and not fields.get("total")
