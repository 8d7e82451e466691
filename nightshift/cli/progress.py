"""Requests with a progress bar: what the command waits for, for how long, and how far it is."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from datetime import timedelta
from functools import cache
from io import TextIOBase
from threading import Lock, Timer
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from nightshift.cli import requests
from nightshift.cli.output import plain, print_error, stderr_console

# A command that takes no longer shows no bar.
DELAY_SECONDS = 1.0
MEGABYTE = 1e6


def ask(stage: str | None, command: str, **request: Any) -> dict[str, Any]:
    """Return the answer of `requests.ask`, and print a message if it was truncated."""
    with _request(command.replace(".", " "), stage):
        answer = requests.ask(stage, command, **request)
    if "truncated" in answer:
        print_error(answer["truncated"])
    return answer


def run(stage: str | None, task: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of `requests.run`."""
    with _request(task, stage):
        return requests.run(stage, task, request)


def describe(stage: str | None, task: str, *, count: int) -> dict[str, Any]:
    """Return the schedule of `requests.describe`."""
    with _request("schedule list", stage):
        return requests.describe(stage, task, count=count)


@contextmanager
def progress(title: str, stage: str | None) -> Iterator[None]:
    """Show a progress bar if standard error is a terminal, and log lines above it in the format of `logs`."""
    if not stderr_console().is_interactive:
        yield
        return
    bar = _bar()
    with redirect_stderr(bar), bar.show(f"{title} in {stage}" if stage else title):
        yield


@contextmanager
def _request(title: str, stage: str | None) -> Iterator[None]:
    """Show progress. After Ctrl-C, say that the deployment continues."""
    try:
        with progress(title, stage):
            yield
    except KeyboardInterrupt:
        if stage is not None:
            print_error(f"{title} continues in {stage} if it has started: nightshift status --stage {stage}")
        raise


@cache
def _bar() -> "Bar":
    # One per process: the logger keeps the stream that it found when it was created.
    return Bar(stderr_console())


class Bar(TextIOBase):
    """The progress bar, and a stream for log lines, which are shown above it."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[step]}", markup=False),
            Elapsed(),
            console=console,
            transient=True,
            # The command's own output may go elsewhere than to the terminal.
            redirect_stdout=False,
            redirect_stderr=False,
            refresh_per_second=5,
        )
        self._rest = ""
        self._lock = Lock()

    @contextmanager
    def show(self, title: str) -> Iterator[None]:
        """Show the bar until the block ends."""
        self._task = self._progress.add_task(plain(title), total=None, step="")
        is_over = False

        def begin() -> None:
            # The block may end at this moment; a bar that starts then would never be removed.
            with self._lock:
                if not is_over:
                    self._progress.start()

        timer = Timer(DELAY_SECONDS, begin)
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
        """Show each complete log line."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._show_line(line)
        return len(text)

    def _show_line(self, line: str) -> None:
        # Imported late: importing the logger earlier would bind it to another stream.
        from chalicelib.backup.progress import MESSAGE
        from nightshift.logs.lines import fields_of, readable

        fields = fields_of(line)
        if fields.get("message") == MESSAGE:
            self._progress.update(self._task, total=fields.get("of"), completed=fields["done"], step=_step(fields))
        elif (text := readable(line)) is not None:
            self._progress.console.print(text, markup=False)


class Elapsed(ProgressColumn):
    """The time since the command started, across its steps."""

    def render(self, task: Task) -> Text:
        """Return the time in hours, minutes and seconds."""
        return Text(str(timedelta(seconds=int(task.elapsed or 0))))


def _step(fields: Mapping[str, Any]) -> str:
    size, unit = (1, "rows") if fields["step"] == "compared" else (MEGABYTE, "MB")
    total = f" of {fields['of'] / size:,.0f}" if "of" in fields else ""
    return f"{fields['done'] / size:,.0f}{total} {unit} {fields['step']}"
