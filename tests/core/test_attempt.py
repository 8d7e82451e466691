"""Attempts: how each way of ending is classified."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

import pytest

from chalicelib.core.attempt import Attempt, attempt, classify
from chalicelib.core.deadline import TimedOutError
from chalicelib.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    NightshiftError,
    OutOfTimeError,
    PermanentError,
    RunFailedError,
    Skipped,
    TransientError,
)
from chalicelib.core.outcome import Counts, Outcome
from chalicelib.mail.ses import ThrottledError
from chalicelib.queue.worker import BatchFailedError
from nightshift.testkit.clock import FrozenClock

MORNING = datetime(2016, 8, 4, 8, 0, tzinfo=UTC)
HALF = Counts(total=4, succeeded=1, failed=2, skipped=1)


def raising(error: BaseException) -> Callable[[], NoReturn]:
    def work() -> NoReturn:
        raise error

    return work


def failing(error: Exception, *, last: bool = False) -> Attempt[NoReturn]:
    return attempt(raising(error), clock=FrozenClock(MORNING), last=last)


def test_an_attempt_ends_in_one_of_five_ways() -> None:
    assert [outcome.value for outcome in Outcome] == ["succeeded", "skipped", "failed", "dead", "snoozed"]
    assert [outcome for outcome in Outcome if outcome.is_failure] == [Outcome.FAILED, Outcome.DEAD]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("value", [HALF, None, 0, "done"])
def test_work_that_returns_has_succeeded(value: object, last: bool) -> None:
    ended = attempt(lambda: value, clock=FrozenClock(MORNING), last=last)
    assert ended == Attempt(outcome=Outcome.SUCCEEDED, duration_ms=0, value=value, error=None)


def test_the_counts_are_those_that_the_work_returned() -> None:
    assert attempt(lambda: HALF, clock=FrozenClock(MORNING), last=False).counts == HALF


@pytest.mark.parametrize("value", [None, 3, {"total": 3}])
def test_work_that_returns_no_counts_counts_nothing(value: object) -> None:
    assert attempt(lambda: value, clock=FrozenClock(MORNING), last=False).counts == Counts()


def test_too_many_failures_keep_their_counts() -> None:
    ended = failing(RunFailedError("2 of 4 items failed", counts=HALF))
    assert (ended.outcome, ended.counts) == (Outcome.FAILED, HALF)


@pytest.mark.parametrize("error", [ValueError("no"), TransientError("no")])
def test_any_other_error_counts_nothing(error: Exception) -> None:
    assert failing(error).counts == Counts()


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (NightshiftError("x"), Outcome.FAILED),
        (TransientError("x"), Outcome.FAILED),
        (ThrottledError("x"), Outcome.FAILED),
        (TimedOutError("x"), Outcome.FAILED),
        (OutOfTimeError("x"), Outcome.FAILED),
        (BatchFailedError("x"), Outcome.FAILED),
        (RunFailedError("x"), Outcome.FAILED),
        (RunFailedError("x", outcome=Outcome.DEAD), Outcome.DEAD),
        (ConfigurationError("x"), Outcome.DEAD),
        (InvalidRequestError("x"), Outcome.DEAD),
        (PermanentError("x"), Outcome.DEAD),
        (Skipped("x"), Outcome.SKIPPED),
        (ValueError("x"), Outcome.FAILED),
        (RecursionError("x"), Outcome.FAILED),
        (MemoryError("x"), Outcome.FAILED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_says_whether_trying_again_can_help(error: Exception, outcome: Outcome) -> None:
    assert classify(error, last=False) is outcome
    assert classify(error, last=True) is (Outcome.DEAD if outcome is Outcome.FAILED else outcome)
    assert failing(error).error is error


@pytest.mark.parametrize("last", [False, True])
def test_an_error_that_the_handler_calls_permanent_is_never_tried_again(last: bool) -> None:
    permanent = (LookupError, TransientError)
    for error in (KeyError("x"), IndexError("x"), ThrottledError("x")):
        assert classify(error, last=last, permanent=permanent) is Outcome.DEAD
        ended = attempt(raising(error), clock=FrozenClock(MORNING), last=last, permanent=permanent)
        assert (ended.outcome, ended.error) == (Outcome.DEAD, error)
    # Others are what they were.
    assert classify(ValueError("x"), last=False, permanent=permanent) is Outcome.FAILED
    assert classify(Skipped("x"), last=False, permanent=permanent) is Outcome.SKIPPED


def test_an_unknown_error_is_tried_again_until_the_last_attempt() -> None:
    assert failing(ZeroDivisionError("x"), last=False).outcome is Outcome.FAILED
    assert failing(ZeroDivisionError("x"), last=True).outcome is Outcome.DEAD


@pytest.mark.parametrize("ending", [KeyboardInterrupt(), SystemExit(1)])
def test_the_end_of_the_process_passes_through(ending: BaseException) -> None:
    with pytest.raises(type(ending)) as caught:
        attempt(raising(ending), clock=FrozenClock(MORNING), last=True)
    assert caught.value is ending


@pytest.mark.parametrize("error", [None, ValueError("x")])
def test_the_duration_is_what_passed_by_the_clock(error: Exception | None) -> None:
    clock = FrozenClock(MORNING)

    def work() -> None:
        clock.advance(1.234)
        if error is not None:
            raise error

    assert attempt(work, clock=clock, last=False).duration_ms == 1234


@pytest.mark.parametrize(
    ("error", "told"),
    [(None, None), (ValueError("no"), "no"), (OSError("no file \udce9"), r"no file \udce9")],
    ids=["none", "usual", "not UTF-8"],
)
def test_what_an_error_says_can_be_kept_in_a_row(error: Exception | None, told: str | None) -> None:
    work = raising(error) if error else (lambda: None)
    assert attempt(work, clock=FrozenClock(MORNING), last=False).error_message == told
    if error:
        long = attempt(raising(ValueError("\udce9" * 100_000)), clock=FrozenClock(MORNING), last=False).error_message
        # As much as MySQL's TEXT holds.
        assert long
        assert len(long.encode()) < 65_536


def test_counts_add_up_item_by_item() -> None:
    assert HALF + Counts(total=1, skipped=1) == Counts(total=5, succeeded=1, failed=2, skipped=2)
    assert (HALF + Counts()).as_dict() == {"total": 4, "succeeded": 1, "failed": 2, "skipped": 1}
