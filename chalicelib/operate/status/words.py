"""Moments, ages, durations and sizes in words, for the page and the terminal."""

from datetime import UTC, date, datetime

MINUTE, HOUR, DAY = 60, 3600, 86_400
SIZES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def day(date: date, *, now: datetime) -> str:
    """Return a day: 24 Nov, with the year if it is not this year."""
    return f"{date.day} {date:%b}" if date.year == now.astimezone(UTC).year else f"{date.day} {date:%b} {date.year}"


def at(moment: datetime, *, now: datetime) -> str:
    """Return a moment in UTC, to the minute: 24 Nov 08:00."""
    there = moment.astimezone(UTC)
    return f"{day(there.date(), now=now)} {there:%H:%M}"


def between(one: datetime, other: datetime) -> str:
    """Return the time between two moments, in any order, in one unit: 40 s, 12 min, 5 h, 3 d."""
    seconds = abs((other - one).total_seconds())
    if seconds < MINUTE:
        return f"{seconds:.0f} s" if seconds < MINUTE - 0.5 else "1 min"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min"
    if seconds < 2 * DAY:
        return f"{seconds // HOUR:.0f} h"
    return f"{seconds // DAY:.0f} d"


def took(milliseconds: float) -> str:
    """Return a duration with two units at most: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if milliseconds < 9_950:
        return f"{milliseconds / 1000:.1f} s"
    seconds = round(milliseconds / 1000)
    if seconds < MINUTE:
        return f"{seconds} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE} min {seconds % MINUTE} s"
    return f"{seconds // HOUR:,} h {seconds % HOUR // MINUTE} min"


def size(octets: int) -> str:
    """Return a number of bytes in the largest fitting unit: 1.2 GB."""
    unit, name = next(((unit, name) for unit, name in SIZES if octets >= unit), (1, "bytes"))
    return f"{octets / unit:,.1f} {name}" if unit > 1 else f"{octets} {name}"


def some(number: int, noun: str) -> str:
    """Return a number with its noun: 1 job, 1,200 jobs."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
