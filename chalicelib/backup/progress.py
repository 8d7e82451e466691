"""How far work on a backup has come, as lines of the log: whoever waits for hours wants to know that it does go on."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event, Lock
from typing import Literal, TypeVar

from chalicelib.core.telemetry import logger

# Often enough for whoever watches, and in a function's log some dozens of lines at most.
EVERY_SECONDS = 5.0
MESSAGE = "backup goes on"

Step = Literal["written", "read", "loaded", "compared"]


class Telling:
    """Tells of one step, at most every five seconds and never of its end; several threads may add to it.

    What is written, read and loaded counts bytes of text, what is compared counts rows. `total` is None where nobody
    knows it.
    """

    def __init__(self, step: Step, *, backup: str, total: int | None) -> None:
        self._fields = {"backup": backup, "step": step, "of": total}
        self._done = 0
        self._lock = Lock()
        self._next = time.monotonic() + EVERY_SECONDS

    def add(self, amount: int) -> None:
        """Tell, if it is time, that so much more is done."""
        with self._lock:
            self._done += amount
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + EVERY_SECONDS
            done = self._done
        logger.info(MESSAGE, extra=self._fields | {"done": done})


T = TypeVar("T")


def share(items: Iterable[T], workers: Sequence[Callable[[T], None]], *, stop: Event) -> None:
    """Have each worker, in a thread of its own, take one item after the other, in order.

    The first error is raised when all have ended; `stop` is set as soon as there is one, and whoever looks at it in
    long work may end early.
    """
    waiting = deque(items)

    def work(worker: Callable[[T], None]) -> None:
        while not stop.is_set():
            try:
                item = waiting.popleft()
            except IndexError:
                return
            worker(item)

    with ThreadPoolExecutor(len(workers), thread_name_prefix="restore") as pool:
        threads = [pool.submit(work, worker) for worker in workers]
        try:
            done, _ = wait(threads, return_when=FIRST_EXCEPTION)
        finally:
            stop.set()
    for thread in done:
        thread.result()
