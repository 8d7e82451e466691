"""The terminal tells what came of something, once, and nothing alarming of a calm end."""

import io
import json
from dataclasses import dataclass, field

import pytest
from rich.console import Console

from nightshift.dev.log_printer import LogPrinter
from nightshift.local.invocation import LocalClock

NO_REDIS, PAUSED = "there is no Redis: set REDIS_URL", "paused: we move house"


@dataclass
class Terminal:
    """What is written, and the stream that writes it."""

    written: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        self.printer = LogPrinter(Console(file=self.written, width=400), LocalClock(ahead_ms=0))

    def hear(self, task: str, message: str, *, trigger: str = "schedule", **fields: object) -> None:
        """Have a task's function log a line."""
        line = {"level": "INFO", "message": message, "task": task, "trigger": trigger, **fields}
        self.printer.print(task, json.dumps(line))

    def skip(self, task: str, reason: str, **fields: str) -> None:
        """Have a run begin and be skipped."""
        self.hear(task, "run started", **fields)
        self.hear(task, "run skipped", reason=reason, **fields)

    def told(self) -> list[str]:
        """Return the lines without the time, each up to its fields."""
        return [line.split(maxsplit=2)[2].partition(" task=")[0] for line in self.written.getvalue().splitlines()]


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def test_what_is_skipped_for_the_same_reason_each_time_is_told_once(terminal: Terminal) -> None:
    for _ in range(3):
        terminal.skip("cache_warming", NO_REDIS)
    assert terminal.told() == ["cache_warming: run started", f"cache_warming: run skipped: {NO_REDIS}"]


def test_another_reason_another_task_and_another_end_are_told(terminal: Terminal) -> None:
    terminal.skip("cache_warming", NO_REDIS)
    terminal.skip("external_sync", NO_REDIS)
    terminal.skip("cache_warming", PAUSED)
    terminal.hear("cache_warming", "run started")
    terminal.hear("cache_warming", "run succeeded", total=3)
    terminal.skip("cache_warming", PAUSED)
    assert terminal.told() == [
        "cache_warming: run started",
        f"cache_warming: run skipped: {NO_REDIS}",
        "external_sync: run started",
        f"external_sync: run skipped: {NO_REDIS}",
        f"cache_warming: run skipped: {PAUSED}",
        "cache_warming: run succeeded",
        "cache_warming: run started",
        f"cache_warming: run skipped: {PAUSED}",
    ]


def test_whoever_asks_for_a_run_is_told_of_it_each_time(terminal: Terminal) -> None:
    for _ in range(2):
        terminal.skip("cache_warming", NO_REDIS, trigger="manual")
    assert terminal.told() == 2 * ["cache_warming: run started", f"cache_warming: run skipped: {NO_REDIS}"]


def test_at_the_end_a_job_that_goes_back_to_its_queue_alarms_nobody_and_one_that_failed_does(
    terminal: Terminal,
) -> None:
    line = {"level": "ERROR", "message": "job failed", "type": "send_email", "job_id": "7"}
    put_back = json.dumps({**line, "error_type": "OutOfTimeError", "error": "the deadline is near"})
    batch = "BatchFailedError: 2 of 2 messages stay on the queue, to be tried again"

    def tell() -> int:
        before = len(terminal.written.getvalue().splitlines())
        for each in (put_back, json.dumps({**line, "error_type": "TransientError", "error": "SES is down"}), batch):
            terminal.printer.print("work", each)
        return len(terminal.written.getvalue().splitlines()) - before

    assert tell() == 3
    terminal.printer.is_stopping = True
    assert tell() == 1
    assert "SES is down" in terminal.written.getvalue().splitlines()[-1]
