"""The time: the one thing that tests freeze."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of the time."""

    def now_ms(self) -> int:
        """Return the time as epoch milliseconds."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def __hash__(self) -> int:
        """Return a hash, by which caches tell clocks apart."""


class SystemClock:
    """The machine's own clock, which Lambda keeps synchronised."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def to_ms(moment: datetime) -> int:
    """Return an aware moment as epoch milliseconds."""
    return round(moment.timestamp() * 1000)


def from_ms(milliseconds: int) -> datetime:
    """Return epoch milliseconds as an aware moment in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def iso(moment: datetime) -> str:
    """Return an aware moment as people and EventBridge write it, to the second: 2016-08-04T08:00:00Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
