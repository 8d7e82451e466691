"""The log lines of functions on the terminal: readable, by the runtime's clock, without the routine ones."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from chalicelib.core.clock import from_ms
from nightshift.local.invocation import LocalClock
from nightshift.logs.lines import fields_of, readable

# They run every few minutes, mostly with nothing to do.
ROUTINE = ("dispatch", "watch")


class LogPrinter:
    """Prints log lines. Set `is_stopping` once unfinished jobs go back to their queue."""

    def __init__(self, console: Console, clock: LocalClock) -> None:
        self.is_stopping = False
        self._console = console
        self._clock = clock
        # The reason of each task whose last run was skipped.
        self._skipped: dict[str, Any] = {}

    def print(self, function: str, line: str) -> None:
        """Print a log line of a function, unless it is routine."""
        fields = fields_of(line)
        if _is_routine(fields) or self._is_repeated_skip(fields) or (self.is_stopping and _is_put_back(line, fields)):
            return
        text = readable(line, at=from_ms(self._clock.now_ms()), function=function)
        if text is not None:
            self._console.print(text, markup=False)

    def _is_repeated_skip(self, fields: Mapping[str, Any]) -> bool:
        """Return whether a scheduled run is skipped for the same reason as the last one, or starts and may be."""
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
    # A job that had no time left, and its batch.
    return fields.get("error_type") == "OutOfTimeError" or line.startswith("BatchFailedError: ")
