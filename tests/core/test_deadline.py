"""The time limit: it interrupts whatever waits, lets all else be, and leaves the process as it was."""

import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from chalicelib.core import deadline
from chalicelib.core.database import Database
from chalicelib.core.deadline import TimedOutError, time_limit
from chalicelib.core.engine import engine_for
from chalicelib.core.outcome import Outcome
from nightshift.testkit.clock import FrozenClock
from tests.world import MORNING

SHORT = 0.05


def receive() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.recv(1)


def compute() -> None:
    while True:
        pass


def wait_for_lock() -> None:
    threading.Event().wait()


def swallow_errors() -> None:
    while True:
        try:
            receive()
        except Exception:  # noqa: BLE001 (as many a library does)
            continue


@pytest.mark.parametrize("work", [receive, compute, wait_for_lock, swallow_errors])
def test_work_that_takes_too_long_is_interrupted_wherever_it_is(work: Callable[[], None]) -> None:
    with (
        pytest.raises(TimedOutError, match=r"\Ait took longer than the 0\.05 s that it may take\Z") as caught,
        time_limit(SHORT),
    ):
        work()
    assert caught.value.outcome is Outcome.FAILED
    # Nobody need read how a signal becomes an error.
    assert caught.value.__suppress_context__


def test_after_work_that_ended_in_time_no_alarm_rings() -> None:
    with time_limit(60):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_an_error_of_the_work_passes_through_and_no_alarm_rings_later(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, time_limit(60):
        raise error
    assert caught.value is error
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_handler_of_the_signal_is_what_it_was() -> None:
    def ours(*_: Any) -> None:
        raise AssertionError("an alarm rang that was not ours")

    before = signal.signal(signal.SIGALRM, ours)
    try:
        with time_limit(60):
            assert signal.getsignal(signal.SIGALRM) is not ours
        assert signal.getsignal(signal.SIGALRM) is ours
        with pytest.raises(TimedOutError), time_limit(SHORT):
            receive()
        assert signal.getsignal(signal.SIGALRM) is ours
    finally:
        signal.signal(signal.SIGALRM, before)


def test_one_limit_after_another_each_has_its_own_time() -> None:
    for _ in range(3):
        with pytest.raises(TimedOutError), time_limit(SHORT):
            receive()
        with time_limit(60):
            assert 30 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60


def test_without_a_number_there_is_no_limit() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with time_limit(None):
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        assert signal.getsignal(signal.SIGALRM) is before


def test_in_another_thread_there_is_no_limit_and_no_error() -> None:
    found: list[object] = []

    def work() -> None:
        with time_limit(SHORT):
            found.append(signal.getitimer(signal.ITIMER_REAL))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(0.0, 0.0)]


class Hanging:
    """What a driver may be: closed by the collector, where Python drops every exception."""

    def __del__(self) -> None:
        receive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_alarm_that_is_swallowed_by_a_destructor_rings_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "AGAIN_SECONDS", SHORT)

    def work() -> None:
        Hanging()
        receive()

    with pytest.raises(TimedOutError), time_limit(SHORT):
        work()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_statement_that_is_interrupted_takes_its_connection_along_and_the_next_has_a_fresh_one(
    server_url: str,
) -> None:
    database = Database(engine_for.__wrapped__(server_url), FrozenClock(MORNING))
    ids: list[int] = []

    def note_id(connection: Any) -> int:
        ids.append(connection.execute(text("SELECT CONNECTION_ID()")).scalar_one())
        return ids[-1]

    def hang(connection: Any) -> None:
        note_id(connection)
        # From here on, however long connecting took.
        signal.setitimer(signal.ITIMER_REAL, SHORT)
        # Its answer would be taken for that of the next statement.
        connection.execute(text("SELECT 'late', SLEEP(30)"))

    with pytest.raises(TimedOutError), time_limit(60):
        database.transact(hang)
    assert database.transact(note_id) == ids[-1]
    assert len(set(ids)) == 2
    assert database.transact(lambda connection: connection.execute(text("SELECT 'now'")).scalar_one()) == "now"
    database.engine.dispose()
