"""A scheduled task and its policy, and the task of a name."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib import import_module
from typing import Any, Literal, overload

from chalicelib.core.context import Context
from chalicelib.core.outcome import Counts
from chalicelib.runs.claims import Overlap, Run

CatchUp = Literal["skip", "latest", "all"]
Perform = Callable[[Context, Run], Counts | None]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A named piece of scheduled work and its policy.

    `perform` does the work and returns its counts; it may raise OutOfTimeError after saving a checkpoint.
    `max_failed_share` of the items (0 to 1) may fail before the run counts as failed.
    `max_attempts` failures in a row make a run dead, twice as many while a service is unavailable; Lambda itself
    repeats an asynchronous fire twice.
    `overlap` says what happens to a fire while an earlier run is not over: it is missed, or it waits.
    `catch_up` says which missed fires run later: none, the latest, or all up to the latest `catch_up_limit`; a fire is
    missed when it is `grace` late.
    `options` are the task's own keys of the payload, and `settings` is the class of its own settings, which are
    validated before a run is claimed.
    """

    name: str
    perform: Perform
    max_failed_share: float = 0.0
    max_attempts: int = 3
    overlap: Overlap = "skip"
    catch_up: CatchUp = "latest"
    grace: timedelta = timedelta(minutes=15)
    catch_up_limit: int = 1
    options: tuple[str, ...] = ()
    settings: type | None = None

    def __call__(self, context: Context, run: Run) -> Counts:
        """Perform a run; a function that returns nothing has done one item."""
        counts = self.perform(context, run)
        return Counts(total=1, succeeded=1) if counts is None else counts


@overload
def task(function: Perform, /) -> Task: ...
@overload
def task(
    *,
    max_failed_share: float = ...,
    max_attempts: int = ...,
    overlap: Overlap = ...,
    catch_up: CatchUp = ...,
    grace: timedelta = ...,
    catch_up_limit: int = ...,
    options: tuple[str, ...] = ...,
    settings: type = ...,
) -> Callable[[Perform], Task]: ...
def task(function: Perform | None = None, /, **policy: Any) -> Any:
    """Make a function the task of its name; its file, and its function in app.py, have the same name."""

    def decorate(function: Perform) -> Task:
        return Task(name=function.__name__, perform=function, **policy)

    return decorate if function is None else decorate(function)


def find_task(name: str) -> Task:
    """Return the task of this name."""
    found: Task = getattr(import_module(f"chalicelib.tasks.{name}"), name)
    return found
