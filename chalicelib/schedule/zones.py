"""Time zones: which there are, and which moments their clocks show, skip and repeat."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo, reset_tzpath

import tzdata  # type: ignore[import-untyped]

MINUTE = timedelta(minutes=1)
_PACKAGE = Path(tzdata.__file__).parent
# The machine that deploys may have zones of its own, older ones than Lambda or some that Lambda lacks.
reset_tzpath(to=[str(_PACKAGE / "zoneinfo")])


def find_zone(name: str) -> ZoneInfo:
    """Return the time zone that IANA calls so, to the letter; raises ValueError."""
    # Where files' names are the same in capitals, more of them would be found than on Lambda.
    if name not in _names():
        raise ValueError(f"{name!r} is not a time zone")
    return ZoneInfo(name)


def read_zone(text: str) -> ZoneInfo:
    """Return the time zone of a setting. Raises ValueError with the rest of a sentence."""
    try:
        return find_zone(text)
    except ValueError:
        raise ValueError("must be an IANA time zone such as Europe/Berlin") from None


def wall_before(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return what the clocks show at an aware moment; where they do so twice, a time before all that they repeat."""
    wall = moment.astimezone(zone)
    first, second = (wall.replace(fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return wall.replace(tzinfo=None) - (first - second)


def moments_of(wall: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the moments in UTC at which the clocks show a time without a zone: none, one or two, in order."""
    found = [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    if found[0] == found[1]:
        return found[:1]
    return found if found[0] < found[1] else []


def first_moment_from(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment in UTC at which the clocks show a time, or where they skip it, have skipped it."""
    while not (moments := moments_of(wall, zone)):
        wall += MINUTE
    return moments[0]


@cache
def _names() -> frozenset[str]:
    return frozenset((_PACKAGE / "zones").read_text(encoding="utf-8").split())
