"""A bar at the end of a terminal, for whoever waits: that it goes on, for how long, and how far it has come."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from io import TextIOBase
from threading import Lock, Timer
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from nightshift.logs.lines import fields_of, readable
from nightshift.terminal import plain

# What takes no longer shows nothing.
PATIENCE_SECONDS = 1.0
MEGABYTE = 1e6


class Bar(TextIOBase):
    """The bar, and a stream for what functions log meanwhile, of which people see each line above it."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[told]}", markup=False),
            Elapsed(),
            console=console,
            transient=True,
            # What a command answers may go elsewhere than to the terminal.
            redirect_stdout=False,
            redirect_stderr=False,
            refresh_per_second=5,
        )
        self._rest = ""
        self._lock = Lock()

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Show what is waited for, until it is over."""
        self._task = self._progress.add_task(plain(what), total=None, told="")
        is_over = False

        def begin() -> None:
            # It may be over just now, and nobody would take the bar away again.
            with self._lock:
                if not is_over:
                    self._progress.start()

        timer = Timer(PATIENCE_SECONDS, begin)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:
                is_over = True
                self._progress.stop()
            self._progress.remove_task(self._task)

    def write(self, text: str) -> int:
        """Take what functions log, and show each whole line."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._tell(line)
        return len(text)

    def _tell(self, line: str) -> None:
        # Whoever imports it earlier has the logger write elsewhere than here.
        from chalicelib.backup.progress import MESSAGE

        fields = fields_of(line)
        if fields.get("message") == MESSAGE:
            self._progress.update(self._task, total=fields.get("of"), completed=fields["done"], told=_told(fields))
        elif (text := readable(line)) is not None:
            self._progress.console.print(text, markup=False)


class Elapsed(ProgressColumn):
    """How long it takes, which goes on where a step has come to its end and another begins."""

    def render(self, task: Task) -> Text:
        """Return the time in hours, minutes and seconds."""
        return Text(str(timedelta(seconds=int(task.elapsed or 0))))


def _told(fields: Mapping[str, Any]) -> str:
    size, unit = (1, "rows") if fields["step"] == "compared" else (MEGABYTE, "MB")
    total = f" of {fields['of'] / size:,.0f}" if "of" in fields else ""
    return f"{fields['done'] / size:,.0f}{total} {unit} {fields['step']}"
