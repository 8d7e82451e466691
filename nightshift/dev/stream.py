"""What the functions log, on the terminal: readable, by the day's own clock, and without what nothing came of."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from chalicelib.core.clock import from_ms
from nightshift.local.clock import LocalClock
from nightshift.logs.lines import fields_of, readable

# They come every few minutes, and mostly there is nothing for them to do.
ROUTINE = ("dispatch", "watch")


class Stream:
    """Prints the lines of functions; `is_ending` once what is left of the day's work is put back."""

    def __init__(self, console: Console, clock: LocalClock) -> None:
        self.is_ending = False
        self._console = console
        self._clock = clock
        # Why each task was skipped the last time, of those that were.
        self._skipped: dict[str, Any] = {}

    def tell(self, function: str, line: str) -> None:
        """Print a line that a function has logged, or that there is to say of it."""
        fields = fields_of(line)
        if _is_routine(fields) or self._is_skipped_again(fields) or (self.is_ending and _is_put_back(line, fields)):
            return
        text = readable(line, at=from_ms(self._clock.now_ms()), function=function)
        if text is not None:
            self._console.print(text, markup=False)

    def _is_skipped_again(self, fields: Mapping[str, Any]) -> bool:
        """Return whether a schedule's run is skipped for the reason that was told before, or begins and may be."""
        if fields.get("trigger") != "schedule":
            return False
        task, reason = fields["task"], fields.get("reason")
        if fields["message"] == "run started":
            return task in self._skipped
        before = self._skipped.pop(task, None)
        if fields["message"] == "run skipped":
            self._skipped[task] = reason
        return reason is not None and reason == before


def _is_routine(fields: Mapping[str, Any]) -> bool:
    return fields.get("task") in ROUTINE and fields.get("level") in {"DEBUG", "INFO"} and not fields.get("total")


def _is_put_back(line: str, fields: Mapping[str, Any]) -> bool:
    # A job for which no time was left, and the batch that it came in.
    return fields.get("error_type") == "OutOfTimeError" or line.startswith("BatchFailedError: ")
