"""A sparkline: how long the latest runs of a task took, from zero up, the latest at its right end."""

from collections.abc import Sequence
from dataclasses import dataclass

from chalicelib.operate.status.words import took

WIDTH, HEIGHT, MARGIN = 96, 24, 3


@dataclass(frozen=True, kw_only=True)
class Spark:
    """A line through points in pixels, its last point, and what it shows in words."""

    points: str
    last: tuple[float, float]
    text: str


def spark(durations: Sequence[int]) -> Spark | None:
    """Return the sparkline of durations in milliseconds, the latest last; None of none."""
    if not durations:
        return None
    longest = max(max(durations), 1)
    step = (WIDTH - 2 * MARGIN) / max(len(durations) - 1, 1)
    # A single run stands where the latest does.
    first = MARGIN if len(durations) > 1 else WIDTH - MARGIN
    points = [
        (round(first + step * place, 1), round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * duration / longest, 1))
        for place, duration in enumerate(durations)
    ]
    range_ = f"{took(min(durations))} to {took(max(durations))}, the latest {took(durations[-1])}"
    what = f"The latest {len(durations)} runs that succeeded took {range_}"
    return Spark(
        points=" ".join(f"{x:g},{y:g}" for x, y in points),
        last=points[-1],
        text=what if len(durations) > 1 else f"The one run that succeeded took {took(durations[-1])}",
    )
