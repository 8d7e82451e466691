"""A limit on how long a piece of work may take, where the process lets one be set."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from chalicelib.core.errors import TransientError

# Python reports and drops an exception that reaches the end of a `__del__` or a weakref's callback. An alarm that rings
# in one, of a driver's, is lost, so it rings again.
AGAIN_SECONDS = 1.0


class TimedOutError(TransientError):
    """The work took longer than it may, and was interrupted."""


class _Alarm(BaseException):
    """No Exception, so that no library swallows it, and SQLAlchemy throws away the connection that it hits."""


def _ring(_number: int, _frame: FrameType | None) -> None:
    raise _Alarm


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise TimedOutError when the work within takes longer.

    A signal interrupts whatever waits, and signals reach the main thread only, which is where Lambda calls a
    function; in any other thread there is no limit, nor with None. A pool whose connection was interrupted may have
    lost its place for it: dispose of the engine after a time-out.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, _ring)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Alarm:
        raise TimedOutError(f"it took longer than the {seconds:g} s that it may take") from None
    finally:
        # Once more, where an alarm rang just before the first time.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
