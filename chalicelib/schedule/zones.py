"""Time zones: find one by name, and convert local times, which clocks may skip or repeat, to moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo, reset_tzpath

import tzdata  # type: ignore[import-untyped]

MINUTE = timedelta(minutes=1)
_PACKAGE = Path(tzdata.__file__).parent
# The zones of the deploying machine may be older than those of Lambda, or more.
reset_tzpath(to=[str(_PACKAGE / "zoneinfo")])


def find_zone(name: str) -> ZoneInfo:
    """Return the time zone with this exact IANA name. Raises ValueError."""
    # On a file system that ignores case, ZoneInfo accepts names that Lambda does not.
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
    """Return the local time of an aware moment, or an earlier one if the clocks show it twice."""
    wall = moment.astimezone(zone)
    first, second = (wall.replace(fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return wall.replace(tzinfo=None) - (first - second)


def moments_of(wall: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the moments in UTC at which the clocks show a local time: none, one or two, in order."""
    found = [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
    if found[0] == found[1]:
        return found[:1]
    return found if found[0] < found[1] else []


def first_moment_from(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment in UTC at which the clocks show a local time or, if they skip it, a later one."""
    while not (moments := moments_of(wall, zone)):
        wall += MINUTE
    return moments[0]


@cache
def _names() -> frozenset[str]:
    return frozenset((_PACKAGE / "zones").read_text(encoding="utf-8").split())
