"""One attempt: call the work, classify how it ended. Runs and jobs share it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from chalicelib.core.clock import Clock
from chalicelib.core.error_text import sentence_of
from chalicelib.core.errors import NightshiftError
from chalicelib.core.outcome import Counts, Outcome

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
        """What was done, where the attempt can tell."""
        if isinstance(self.value, Counts):
            return self.value
        return self.error.counts if isinstance(self.error, NightshiftError) else Counts()

    @property
    def error_message(self) -> str | None:
        """The error as text, cut to what a row stores; None without an error."""
        if self.error is None:
            return None
        # A lone surrogate, of a file's name or a wrong decoding, has no UTF-8: the row could not be written.
        return sentence_of(self.error)[:LONGEST_ERROR].encode("utf-8", "backslashreplace").decode()


def attempt(
    work: Callable[[], T], *, clock: Clock, last: bool, permanent: tuple[type[Exception], ...] = ()
) -> Attempt[T]:
    """Call `work` once and return how it ended; `last` says that a failure will not be tried again.

    `permanent` are errors of libraries after which trying again cannot help.
    Process exits and keyboard interrupts pass through: the lease or the queue's visibility covers those.
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
    """Return the outcome of an attempt that ended with this error; an error that we do not know may pass."""
    if isinstance(error, permanent):
        return Outcome.DEAD
    outcome = error.outcome if isinstance(error, NightshiftError) else Outcome.FAILED
    return Outcome.DEAD if outcome is Outcome.FAILED and last else outcome


def forget_frames(error: BaseException | None) -> None:
    """Let go of what the functions held in which an error arose, such as a payload; it cannot be traced after that."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
