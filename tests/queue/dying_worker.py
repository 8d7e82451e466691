"""A worker that does jobs on threads and kills itself, as hard as the kernel can, in the middle of them.

python -m tests.queue.dying_worker DATABASE_URL EFFECTS PARALLEL NTH < event.json
"""

import json
import os
import signal
import sys
from threading import Barrier, Lock

from chalicelib.queue import worker
from chalicelib.queue.job import Job
from nightshift.testkit.kit import Kit
from tests.queue.samples import Note, handle


def main(database_url: str, effects: str, parallel: str, nth: str) -> None:
    """Leave a line in the file of effects for each job, and die after so many."""
    at_once, lock, done = Barrier(int(parallel), timeout=60), Lock(), 0

    def perform(job: Job[Note]) -> None:
        nonlocal done
        at_once.wait()
        with lock, open(effects, "a", encoding="utf-8") as file:  # noqa: PTH123 (its path is text)
            file.write(f"{job.id}\n")
            done += 1
        if done >= int(nth):
            os.kill(os.getpid(), signal.SIGKILL)

    kit = Kit(database_url)
    handle(kit, perform, parallel=int(parallel))
    worker.work(json.load(sys.stdin), kit.context(), queue="work", find=kit._find)


if __name__ == "__main__":
    main(*sys.argv[1:])
