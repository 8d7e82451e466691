"""Celery: one worker with the solo pool.  python -m bench.rivals.celery_ REDIS_URL JOBS"""

import sys
import warnings
from threading import Thread

from celery import Celery  # type: ignore[import-not-found]
from celery.platforms import SecurityWarning  # type: ignore[import-not-found]

from bench.rivals import tally
from bench.rivals.contest import make_data


def main() -> None:
    """Enqueue and perform."""
    url, jobs = sys.argv[1], int(sys.argv[2])
    app = Celery(broker=url)
    # The prefetch that its guide advises for many short tasks, and below nothing that one worker has no use for.
    app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=128, worker_redirect_stdouts=False)
    task = app.task(tally.job)
    for data in make_data(jobs):
        task.delay(data)
    # In a container it is run as root, which it warns of.
    warnings.simplefilter("ignore", SecurityWarning)
    alone = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}
    worker = app.Worker(pool="solo", loglevel="ERROR", quiet=True, **alone)
    Thread(target=stop_after, args=(jobs, app), daemon=True).start()
    tally.wait_for_start()
    worker.start()
    tally.tell()


def stop_after(jobs: int, app: Celery) -> None:
    """Shut the worker down once it has performed as many jobs."""
    tally.wait_for(jobs)
    app.control.shutdown()


if __name__ == "__main__":
    main()
