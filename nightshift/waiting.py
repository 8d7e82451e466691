"""Asking as a person does at a terminal, who sees meanwhile that it goes on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from functools import cache
from typing import TYPE_CHECKING, Any

from nightshift import operating
from nightshift.terminal import beside, complain

if TYPE_CHECKING:
    from nightshift.bar import Bar


def ask(stage: str | None, command: str, **request: Any) -> dict[str, Any]:
    """Return what `operating.ask` does, and say so where it was cut."""
    with _asking(command.replace(".", " "), stage):
        answer = operating.ask(stage, command, **request)
    if "truncated" in answer:
        complain(answer["truncated"])
    return answer


def run(stage: str | None, task: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `operating.run` does."""
    with _asking(task, stage):
        return operating.run(stage, task, request)


def describe(stage: str | None, task: str, *, count: int) -> dict[str, Any]:
    """Return what `operating.describe` does."""
    with _asking("schedule list", stage):
        return operating.describe(stage, task, count=count)


@contextmanager
def waiting(what: str, stage: str | None) -> Iterator[None]:
    """Show a bar on standard error, if that is a terminal, and above it, as people read it, what is written there."""
    if not beside().is_interactive:
        yield
        return
    bar = _bar()
    with redirect_stderr(bar), bar.during(f"{what} in {stage}" if stage else what):
        yield


@contextmanager
def _asking(what: str, stage: str | None) -> Iterator[None]:
    """Wait for an answer, and tell whoever no longer does that a deployment does not know."""
    try:
        with waiting(what, stage):
            yield
    except KeyboardInterrupt:
        if stage is not None:
            complain(f"{what} goes on in {stage}, if it has begun: nightshift status --stage {stage}")
        raise


@cache
def _bar() -> "Bar":
    # One for the process: the logger keeps the stream that it found when it was made.
    from nightshift.bar import Bar

    return Bar(beside())
