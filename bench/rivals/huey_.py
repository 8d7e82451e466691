"""huey: its consumer with one thread.  python -m bench.rivals.huey_ REDIS_URL JOBS"""

import logging
import sys

from huey import RedisHuey  # type: ignore[import-not-found]

from bench.rivals import tally
from bench.rivals.contest import make_data


def main() -> None:
    """Enqueue and perform."""
    url, jobs = sys.argv[1], int(sys.argv[2])
    logging.getLogger("huey").setLevel(logging.WARNING)
    # Polling is a little faster than the default of waiting in Redis, as long as there are jobs.
    huey = RedisHuey(url=url, results=False, blocking=False)
    enqueue = huey.task()(tally.job)
    for data in make_data(jobs):
        enqueue(data)
    consumer = huey.create_consumer(workers=1, periodic=False)
    tally.wait_for_start()
    consumer.start()
    tally.wait_for(jobs)
    consumer.stop(graceful=True)
    tally.tell()


if __name__ == "__main__":
    main()
