"""When messages arrive: in the course of a day, with its peak and its noise, or all that a digest's run sends."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

# The part of a day's jobs that each hour brings, by the application's own clock: made up, with a night, a peak before
# noon that is 2.4 times the mean, and a second one in the evening.
HOURS = (1, 1, 1, 1, 1, 2, 4, 7, 10, 12, 11, 9, 8, 8, 8, 8, 7, 6, 5, 4, 3, 1, 1, 1)
DAY = 86_400
PEAK = max(HOURS) * len(HOURS) / sum(HOURS)


@dataclass(frozen=True, slots=True)
class Lump:
    """Messages that arrive at the same moment, in seconds since the beginning."""

    at: float
    messages: int


@cache
def day(jobs: int, *, every: int, seed: int) -> tuple[Lump, ...]:
    """Return exactly so many jobs in lumps at least `every` seconds apart, as uneven as chance has them."""
    noise = random.Random(seed)  # noqa: S311 (a simulation, the same for the same seed)
    weights = [HOURS[at // 3600] * noise.expovariate(1.0) for at in range(0, DAY, every)]
    scale = jobs / sum(weights)
    lumps, reached, given = [], 0.0, 0
    for place, weight in enumerate(weights):
        reached += weight * scale
        # The last takes what rounding has left.
        due = jobs if place == len(weights) - 1 else min(jobs, int(reached))
        if due > given:
            lumps.append(Lump(float(place * every), due - given))
            given = due
    return tuple(lumps)


def fan_out(users: int, *, a_second: float, recipients: int) -> Iterator[Lump]:
    """Yield the messages of a digest's run, which lists a thousand readers and then sends their messages."""
    chunk = 1000
    for listed in range(0, users, chunk):
        readers = min(chunk, users - listed)
        yield Lump((listed + readers) / a_second, -(-readers // recipients))
