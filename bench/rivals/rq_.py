"""rq: its SimpleWorker, which does not fork.  python -m bench.rivals.rq_ REDIS_URL JOBS"""

import sys

from redis import Redis
from rq import Queue, SimpleWorker  # type: ignore[import-not-found]

from bench.rivals import tally
from bench.rivals.contest import make_data


def main() -> None:
    """Enqueue and perform."""
    url, jobs = sys.argv[1], int(sys.argv[2])
    queue = Queue(connection=Redis.from_url(url))
    for data in make_data(jobs):
        # Results are kept for a while, as by default: result_ttl=0 is slower, because it deletes every job by itself.
        queue.enqueue(tally.job, data)
    worker = SimpleWorker([queue], connection=queue.connection)
    tally.wait_for_start()
    worker.work(burst=True, logging_level="WARNING")
    tally.tell()


if __name__ == "__main__":
    main()
