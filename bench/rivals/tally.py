"""The children's side of a race: the job, which does nothing but note when, and the talk with the parent process."""

import json
import sys
import time

_moments: list[float] = []


def job(_data: object) -> None:
    """Note the moment."""
    _moments.append(time.perf_counter())


def wait_for_start() -> None:
    """Tell that all is ready, and wait until the race begins."""
    print("ready", flush=True)
    sys.stdin.readline()


def wait_for(jobs: int) -> None:
    """Wait until as many jobs were performed."""
    while len(_moments) < jobs:
        time.sleep(0.05)


def tell() -> None:
    """Print the moments."""
    print(json.dumps(_moments), flush=True)
