"""What a person at a terminal sees while a command waits, and that nobody else sees any of it."""

import io
import json
import os
import pty
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from threading import Condition, Event

import pytest
from rich.console import Console
from rich.progress import Task, TaskID

from nightshift.cli import progress
from nightshift.cli.progress import Bar, Elapsed
from tests.shell import NIGHTSHIFT, Lambda

LIMIT_SECONDS = 60
CREATED = {"outcome": "succeeded", "backup": "20160101T010000Z-00000000", "succeeded": 3}
STARTED = {"level": "INFO", "message": "run started", "task": "database_backup", "timestamp": "2016-01-01T01:00:00Z"}


class Slow(Lambda):
    """A Lambda that answers when somebody lets it."""

    def __init__(self) -> None:
        super().__init__(b"")
        self.is_asked, self.is_let = Event(), Event()

    @property
    def answer(self) -> bytes:
        """What it answers."""
        self.is_asked.set()
        assert self.is_let.wait(LIMIT_SECONDS)
        return json.dumps(CREATED).encode()

    @answer.setter
    def answer(self, _given: bytes) -> None: ...


class Terminal(io.StringIO):
    """A terminal that is looked at until it shows something."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = Condition()

    def write(self, text: str) -> int:
        with self._changed:
            count = super().write(text)
            self._changed.notify_all()
        return count

    @property
    def seen(self) -> str:
        return without_colours(self.getvalue())

    def wait_for(self, text: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.seen, LIMIT_SECONDS), self.seen


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr(progress, "DELAY_SECONDS", 0)
    return Terminal()


@pytest.fixture
def shown(terminal: Terminal) -> Bar:
    return Bar(Console(file=terminal, force_terminal=True, width=100))


def goes_on(step: str, done: int, of: int | None) -> str:
    """Return the line of a function's log."""
    fields = {"level": "INFO", "message": "backup progress", "backup": "x", "step": step, "done": done}
    return json.dumps(fields | ({} if of is None else {"of": of})) + "\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (goes_on("written", 607_000_000, None), "607 MB written"),
        (goes_on("read", 64_000_000, 797_000_000), "64 of 797 MB read"),
        (goes_on("loaded", 1_337_000_000, 1_337_000_000), "1,337 of 1,337 MB loaded"),
        (goes_on("compared", 2_506_956, 4_048_580), "2,506,956 of 4,048,580 rows compared"),
    ],
)
def test_the_bar_says_what_is_waited_for_and_how_far_it_has_come(
    shown: Bar, terminal: Terminal, line: str, told: str
) -> None:
    with shown.show("backup restore in prod"):
        terminal.wait_for("backup restore in prod")
        shown.write(line)
        terminal.wait_for(told)


def test_the_time_goes_on_where_one_step_has_ended_and_another_begins() -> None:
    ended = Task(TaskID(0), "backup restore", 5, 5, _get_time=lambda: 75.9, finished_time=1.0)
    ended.start_time = 0.0
    assert str(Elapsed().render(ended)) == "0:01:15"


def test_what_functions_log_stands_above_it_as_people_read_it(shown: Bar, terminal: Terminal) -> None:
    with shown.show("backup create"):
        line = json.dumps(STARTED)
        # As a stream may get it: in pieces, and what is no JSON between them.
        shown.write(line[:20])
        shown.write(f"{line[20:]}\nnot \x1b[31mjson\n")
        terminal.wait_for("2016-01-01T01:00:00.000Z INFO    run started task=database_backup")
        terminal.wait_for("not ·[31mjson")
    assert "\x1b[31m" not in terminal.getvalue()


def test_the_bar_is_gone_when_it_is_over_and_shows_the_next_in_its_turn(shown: Bar, terminal: Terminal) -> None:
    for what in ("first", "second"):
        with shown.show(what):
            terminal.wait_for(what)
        # The cursor comes back, and the bar's line is taken away.
        assert terminal.getvalue().endswith(("\x1b[?25h\n\x1b[1A\x1b[2K", "\x1b[?25h\r\x1b[1A\x1b[2K"))


def test_what_takes_no_longer_than_a_second_shows_nothing(
    shown: Bar, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "DELAY_SECONDS", LIMIT_SECONDS)
    with shown.show("status"):
        pass
    assert terminal.getvalue() == ""


def test_an_error_takes_the_bar_away_too(shown: Bar, terminal: Terminal) -> None:
    def fail() -> None:
        with shown.show("status"):
            terminal.wait_for("status")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 (whatever it is)
        fail()
    assert terminal.getvalue().endswith("\x1b[2K")


def test_a_command_that_asks_a_deployment_shows_a_bar_in_a_terminal_and_its_answer_elsewhere() -> None:
    lambda_ = Slow()
    with lambda_.serve("backup") as shell:
        ours, theirs = pty.openpty()
        environment = {**shell.environment, "TERM": "xterm", "COLUMNS": "80"}
        command = [str(NIGHTSHIFT), "backup", "create", "--stage", "prod"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
            os.close(theirs)
            seen = ""
            for piece in _read(ours):
                seen += piece
                if "backup create in prod" in seen:
                    lambda_.is_let.set()
            printed, _ = process.communicate(timeout=LIMIT_SECONDS)
        os.close(ours)
    assert (process.returncode, printed) == (0, f"Created and verified {CREATED['backup']}: 3 tables.\n")
    assert re.search(r"backup create in prod \S+\s+0:00:0\d", without_colours(seen))


def test_where_standard_error_is_no_terminal_there_is_no_bar() -> None:
    lambda_ = Lambda(json.dumps(CREATED).encode())
    with lambda_.serve("backup") as shell:
        assert shell.tell("create", "--stage", "prod", TERM="xterm").startswith("Created ")


def _read(terminal: int) -> Iterator[str]:
    # The terminal of a process that has ended fails to be read.
    with suppress(OSError):
        while chunk := os.read(terminal, 65_536):
            yield chunk.decode(errors="replace")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_whoever_no_longer_waits_is_told_that_the_deployment_does_not_know(is_terminal: bool) -> None:
    lambda_ = Slow()
    with lambda_.serve() as shell:
        ours, theirs = pty.openpty()
        environment = {**shell.environment, "TERM": "xterm", "COLUMNS": "120"}
        stderr = theirs if is_terminal else subprocess.PIPE
        command = [str(NIGHTSHIFT), "backup", "create", "--stage", "prod"]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
            os.close(theirs)
            assert lambda_.is_asked.wait(LIMIT_SECONDS)
            process.send_signal(signal.SIGINT)
            told = "".join(_read(ours)) if is_terminal else process.communicate(timeout=LIMIT_SECONDS)[1]
        lambda_.is_let.set()
        os.close(ours)
    assert process.returncode == 130
    assert "backup create continues in prod if it has started: nightshift status --stage prod" in without_colours(told)


def test_what_this_process_does_itself_ends_with_it_and_claims_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), progress.progress("deploy", "prod"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == ""
