"""Sharing work among threads: each takes the next item until none is left, and the first error ends all."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

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
