"""One attempt: call the work and classify how it ended. Runs, jobs and the other functions share it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from chalicelib.core.clock import Clock
from chalicelib.core.context import Context
from chalicelib.core.error_text import sentence_of
from chalicelib.core.errors import NightshiftError, RunFailedError
from chalicelib.core.outcome import Counts, Outcome
from chalicelib.core.redaction import redact
from chalicelib.core.telemetry import bound, report

T = TypeVar("T")

LONGEST_ERROR = 10_000


@dataclass(frozen=True, kw_only=True)
class Attempt(Generic[T]):
    """How an attempt ended: with a value, or with an error."""

    outcome: Outcome
    duration_ms: int
    value: T | None
    error: Exception | None

    @property
    def counts(self) -> Counts:
        """The items that were done, if the value or the error says so."""
        if isinstance(self.value, Counts):
            return self.value
        return self.error.counts if isinstance(self.error, NightshiftError) else Counts()

    @property
    def error_message(self) -> str | None:
        """The error as text, cut to what a row stores; None without an error."""
        if self.error is None:
            return None
        # A lone surrogate, from a file name or a wrong decoding, cannot be stored as UTF-8.
        return sentence_of(self.error)[:LONGEST_ERROR].encode("utf-8", "backslashreplace").decode()


def attempt(
    work: Callable[[], T], *, clock: Clock, last: bool, permanent: tuple[type[Exception], ...] = ()
) -> Attempt[T]:
    """Call `work` once and return how it ended; with `last` a failure is final.

    `permanent` are errors of libraries that a retry cannot help. Process exits and keyboard interrupts pass through:
    the lease or the queue's visibility time-out covers those.
    """
    started_ms = clock.now_ms()
    value, error = None, None
    try:
        value = work()
    except Exception as caught:  # noqa: BLE001 (the one place that classifies)
        error = caught
    return Attempt(
        outcome=Outcome.SUCCEEDED if error is None else classify(error, last=last, permanent=permanent),
        duration_ms=clock.now_ms() - started_ms,
        value=value,
        error=error,
    )


def classify(error: Exception, *, last: bool, permanent: tuple[type[Exception], ...] = ()) -> Outcome:
    """Return the outcome of an attempt that ended with this error; an unknown error is retried."""
    if isinstance(error, permanent):
        return Outcome.DEAD
    outcome = error.outcome if isinstance(error, NightshiftError) else Outcome.FAILED
    return Outcome.DEAD if outcome is Outcome.FAILED and last else outcome


def attempt_and_report(context: Context, name: str, work: Callable[[], Counts]) -> dict[str, Any]:
    """Attempt a function's work with its request id on every log line; return or raise as `report_or_raise`."""
    with bound(request_id=context.request_id):
        return report_or_raise(name, attempt(work, clock=context.clock, last=False))


def report_or_raise(name: str, ended: Attempt[Any], *, is_measured: bool = True) -> dict[str, Any]:
    """Write an attempt's summary and metrics, and return the summary.

    Raises RunFailedError for a failed or dead one, so that Lambda's retries and alarms see it.
    """
    summary = report("run", name, ended, is_measured=is_measured)
    if ended.outcome.is_failure:
        sentence = redact(f"{name} {ended.outcome}: {ended.error_message}")
        raise RunFailedError(sentence, outcome=ended.outcome) from ended.error
    return summary


def forget_frames(error: BaseException | None) -> None:
    """Free what the error's stack frames hold, such as a payload; its traceback is lost."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
