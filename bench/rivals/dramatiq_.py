"""dramatiq: one process with one worker thread.  python -m bench.rivals.dramatiq_ REDIS_URL JOBS"""

import logging
import sys

import dramatiq  # type: ignore[import-not-found]
from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found]

from bench.rivals import tally
from bench.rivals.contest import make_data


def main() -> None:
    """Enqueue and perform."""
    url, jobs = sys.argv[1], int(sys.argv[2])
    logging.getLogger("dramatiq").setLevel(logging.WARNING)
    broker = RedisBroker(url=url)
    actor = dramatiq.actor(tally.job, broker=broker)
    for data in make_data(jobs):
        actor.send(data)
    worker = dramatiq.Worker(broker, worker_threads=1)
    # What dramatiq_queue_prefetch sets: by default it fetches two at a time, and sleeps once it has done these.
    worker.queue_prefetch = 256
    tally.wait_for_start()
    worker.start()
    tally.wait_for(jobs)
    worker.stop()
    tally.tell()


if __name__ == "__main__":
    main()
