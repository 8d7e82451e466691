"""The clocks of a zone over two years, found by looking at them every hour and, where they change, every minute."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tests.schedule.minutes import A_DAY, DAYS


@dataclass(frozen=True)
class Stretch:
    """The minutes of UTC from `start` up to, not including, `end`, in which local time is `offset` minutes ahead."""

    start: int
    end: int
    offset: int


def stretches_of(zone: str, start: date) -> list[Stretch]:
    """Return the stretches of two years, which meet where the clocks change."""
    clocks, midnight = ZoneInfo(zone), datetime.combine(start, time(), UTC)

    def offset_at(minute: int) -> int:
        offset = (midnight + timedelta(minutes=minute)).astimezone(clocks).utcoffset()
        assert offset is not None
        return offset // timedelta(minutes=1)

    bounds, end = [0], DAYS * A_DAY
    for hour in range(0, end, 60):
        if offset_at(hour) != offset_at(hour + 60):
            bounds.append(next(n for n in range(hour + 1, hour + 61) if offset_at(n) == offset_at(hour + 60)))
    return [
        Stretch(first, last, offset_at(first))
        for first, last in zip(bounds, [*bounds[1:], end], strict=True)
        if last > first
    ]
