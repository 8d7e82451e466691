"""A time limit for a block of code, in the main thread."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from chalicelib.core.errors import TransientError

# Python reports and drops an exception in a `__del__` or a weakref's callback, such as a driver's. An alarm that rings
# in one is lost, so it rings again.
AGAIN_SECONDS = 1.0


class TimedOutError(TransientError):
    """The work exceeded its time limit and was interrupted."""


class _Alarm(BaseException):
    """Not an Exception, so that no library catches it, and SQLAlchemy discards the connection that it interrupts."""


def _ring(_number: int, _frame: FrameType | None) -> None:
    raise _Alarm


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise TimedOutError if the block takes longer.

    It uses a signal, which interrupts any wait, but only in the main thread, where Lambda calls functions. In other
    threads, and with None, there is no limit. SQLAlchemy's pool may count an interrupted connection as in use for ever:
    dispose of the engine after a time-out.
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
        # Again, since an alarm may have rung just before the first time.
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
