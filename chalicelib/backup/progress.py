"""Work on several threads, and its progress as log lines."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event, Lock
from typing import Literal, TypeVar

from chalicelib.core.telemetry import logger

# Frequent enough for a progress bar, and only some dozens of lines in a function's log.
EVERY_SECONDS = 5.0
MESSAGE = "backup progress"

Step = Literal["written", "read", "loaded", "compared"]


class ProgressLogger:
    """Log the progress of one step, at most every five seconds; thread-safe.

    `written`, `read` and `loaded` count bytes of text, `compared` counts rows. `total` is None if it is unknown.
    """

    def __init__(self, step: Step, *, backup: str, total: int | None) -> None:
        self._fields = {"backup": backup, "step": step, "of": total}
        self._done = 0
        self._lock = Lock()
        self._next = time.monotonic() + EVERY_SECONDS

    def add(self, amount: int) -> None:
        """Add to the amount that is done, and log it if five seconds have passed."""
        with self._lock:
            self._done += amount
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + EVERY_SECONDS
            done = self._done
        logger.info(MESSAGE, extra=self._fields | {"done": done})


T = TypeVar("T")


def run_in_threads(items: Iterable[T], workers: Sequence[Callable[[T], None]], *, stop: Event) -> None:
    """Run each worker in its own thread; each takes the next item until none is left.

    The first error sets `stop`, so that long work can check it and end early, and is raised once all threads ended.
    """
    waiting = deque(items)

    def work(worker: Callable[[T], None]) -> None:
        while not stop.is_set():
            try:
                item = waiting.popleft()
            except IndexError:
                return
            worker(item)

    with ThreadPoolExecutor(len(workers), thread_name_prefix="backup") as pool:
        threads = [pool.submit(work, worker) for worker in workers]
        try:
            for thread in as_completed(threads):
                thread.result()
        finally:
            stop.set()
