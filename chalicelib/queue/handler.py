"""A handler of jobs and its policy, and the handler of a type."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints, overload

from chalicelib.core.config import ApplicationJobsSettings
from chalicelib.core.context import Context
from chalicelib.core.error_text import hint
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.outcome import Counts
from chalicelib.queue.job import Job

FOLDER = Path(__file__).parent.parent / "handlers"
# Named here, because within Handler `type` is a field.
Errors = tuple[type[Exception], ...]
Perform = Callable[[Context, Job[Any]], "Counts | Result | None"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a job that succeeded leaves in its row: JSON as text."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Rate:
    """At most `count` jobs begin in each `seconds`, evenly spread."""

    count: int
    seconds: float

    @property
    def interval_ms(self) -> float:
        """The milliseconds from one job's turn to the next."""
        return 1000 * self.seconds / self.count


@dataclass(frozen=True, kw_only=True)
class Handler:
    """What performs jobs of one type, and the policy for them.

    `perform` is given a job whose payload is a `payload` struct. A job is tried `max_attempts` times; before attempt
    n + 1 it waits `backoff_seconds[n - 1]`, or the last of them, give or take a fifth. An attempt that takes longer
    than `timeout_seconds` is interrupted; None is for a handler that looks at the deadline itself. An error of one of
    the `permanent` classes makes the job dead at once. With `parallel` over 1, up to so many jobs of a batch are
    performed at once, each on a thread. Handlers of the same `breaker` share what performs their jobs: while it is
    unavailable, the jobs wait. `label` stands for the type in metrics.
    """

    type: str
    payload: Any
    perform: Perform
    max_attempts: int = 3
    backoff_seconds: tuple[float, ...] = (60, 300, 1800)
    timeout_seconds: float | None = 240
    permanent: Errors = ()
    rate: Rate | None = None
    parallel: int = 1
    breaker: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or not self.backoff_seconds:
            raise ValueError(f"the handler of {self.type} needs at least one attempt and one backoff")
        if self.parallel < 1:
            raise ValueError(f"the handler of {self.type} must perform at least one job at a time: correct `parallel`")

    @property
    def performed_by(self) -> str:
        """What performs the jobs: the breaker's, or the handler itself."""
        return self.breaker or self.type

    def __call__(self, context: Context, job: Job[Any]) -> tuple[Counts, Result | None]:
        """Perform a job; a function that returns no counts has done one item."""
        done = self.perform(context, job)
        one = Counts(total=1, succeeded=1)
        return (one, done) if isinstance(done, Result) else (done or one, None)

    def backoff_after(self, attempt: int) -> float:
        """Return the seconds to wait after this attempt has failed, with jitter: many fail together."""
        wait = self.backoff_seconds[min(attempt, len(self.backoff_seconds)) - 1]
        return wait * random.uniform(0.8, 1.2)  # noqa: S311 (jitter, not a secret)


@overload
def handler(function: Perform, /) -> Handler: ...
@overload
def handler(
    *,
    max_attempts: int = ...,
    backoff_seconds: tuple[float, ...] = ...,
    timeout_seconds: float | None = ...,
    permanent: Errors = ...,
    rate: Rate | None = ...,
    parallel: int = ...,
) -> Callable[[Perform], Handler]: ...
def handler(function: Perform | None = None, /, **policy: Any) -> Any:
    """Make a function the handler of the jobs of its name; its file has the same name.

    The annotation of its parameter `job`, as in `job: Job[Payload]`, says what the jobs' data must fit into.
    """

    def decorate(function: Perform) -> Handler:
        payload = get_args(get_type_hints(function).get("job"))
        if not payload:
            raise TypeError(f"the handler {function.__name__} needs a parameter annotated as in `job: Job[Payload]`")
        return Handler(type=function.__name__, payload=payload[0], perform=function, **policy)

    return decorate if function is None else decorate(function)


FindHandler = Callable[[Context, str], Handler]


def find_handler(context: Context, type_: str) -> Handler:
    """Return the handler of this type, or else the application. Raises InvalidRequestError when there is none."""
    if type_ not in known_types():
        settings = context.settings(ApplicationJobsSettings)
        if settings.takes(type_):
            from chalicelib.queue.application import application_job

            # With `*`, anybody's type would become a dimension of a metric.
            label = None if type_ in settings.app_jobs_types else "application"
            return application_job(type_, parallel=settings.app_jobs_parallel, label=label)
        there_are = f"there are {', '.join(known_types())}{hint(type_, known_types())}"
        raise InvalidRequestError(f"there is no handler for jobs of type {type_[:64]!r}; {there_are}")
    found: Handler = getattr(import_module(f"chalicelib.handlers.{type_}"), type_)
    return found


@cache
def known_types() -> tuple[str, ...]:
    """Return the types that have a handler."""
    return tuple(sorted(path.stem for path in FOLDER.glob("[!_]*.py")))
