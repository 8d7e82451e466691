"""Sets of the minutes of two years, each the bits of one integer: bit n is the minute n after their start."""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from functools import cache

DAYS = 731
A_DAY = 24 * 60
# Local time is up to fourteen hours from UTC, and Samoa left out a whole day.
MARGIN_DAYS = 2
MARGIN = MARGIN_DAYS * A_DAY


@cache
def calendar(start: date, *, margin: int = 0) -> list[tuple[int, int, int]]:
    """Return of each day of two years, and of so many around them, its number in the month, month and weekday.

    Monday is 1, Sunday 7.
    """
    days = (start + timedelta(days=n) for n in range(-margin, DAYS + margin))
    return [(day.day, day.month, day.isoweekday()) for day in days]


def spread(is_taken: Iterable[bool], hours: set[int], minutes: set[int]) -> int:
    """Return the times of day that these hours and minutes make, on each of the days that are taken."""
    an_hour = sum(1 << minute for minute in minutes)
    some, none = sum(an_hour << hour * 60 for hour in hours).to_bytes(A_DAY // 8, "little"), bytes(A_DAY // 8)
    return int.from_bytes(b"".join([some if taken else none for taken in is_taken]), "little")


def part(bits: int, first: int, end: int) -> int:
    """Return the minutes from `first` up to, not including, `end`, counted from `first`."""
    return bits >> first & (1 << end - first) - 1


def members(bits: int) -> Iterator[int]:
    """Yield the minutes that are in the set, the earliest first."""
    digits = f"{bits:b}"[::-1]
    n = digits.find("1")
    while n >= 0:
        yield n
        n = digits.find("1", n + 1)


def counts_by_day(bits: int) -> list[int]:
    """Return how many minutes of each day are in the set."""
    size = A_DAY // 8
    octets = bits.to_bytes(DAYS * size, "little")
    return [int.from_bytes(octets[n : n + size], "little").bit_count() for n in range(0, len(octets), size)]
