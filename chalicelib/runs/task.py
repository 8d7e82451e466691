"""A scheduled task and its policy, and the task of a name."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Literal

from chalicelib.core.context import Context
from chalicelib.core.outcome import Counts
from chalicelib.runs.claims import Overlap, Run

CatchUp = Literal["skip", "latest", "all"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A named piece of scheduled work and its policy.

    `perform` does it and returns what it did; it may raise OutOfTimeError after saving a checkpoint.
    `max_failed_share` of the items (0 to 1) may fail before the run counts as failed.
    `max_attempts` failures in a row make it dead, twice as many where a service was away; Lambda itself repeats an
    asynchronous fire twice.
    `overlap` says what becomes of a fire while an earlier run is not over: it is missed, or it waits.
    `catch_up` says which of the fires that never came are made up for: none, the latest, or all, as far as the latest
    `catch_up_limit`; a fire has not come when it is `grace` late.
    `options` are the keys that a payload may have beside those of every task.
    """

    name: str
    perform: Callable[[Context, Run], Counts]
    max_failed_share: float
    max_attempts: int
    overlap: Overlap
    catch_up: CatchUp
    grace: timedelta
    catch_up_limit: int = 1
    options: tuple[str, ...] = ()


def find_task(name: str) -> Task:
    """Return the task of this name."""
    task: Task = import_module(f"chalicelib.tasks.{name}").TASK
    return task
