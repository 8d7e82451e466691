"""A calendar day in a time zone, as the range of moments that it spans."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from chalicelib.core.clock import to_ms

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


@dataclass(frozen=True, kw_only=True)
class Window:
    """A calendar day in a zone as a half-open range of epoch milliseconds; 23 to 25 hours where clocks change."""

    day: date
    start_ms: int
    end_ms: int


def window_before(scheduled_for: datetime, zone: ZoneInfo) -> Window:
    """Return the calendar day before the one in which `scheduled_for` falls in the zone."""
    day = scheduled_for.astimezone(zone).date() - timedelta(days=1)
    return Window(day=day, start_ms=midnight_ms(day, zone), end_ms=midnight_ms(day + timedelta(days=1), zone))


def midnight_ms(day: date, zone: ZoneInfo) -> int:
    """Return the moment at which a day begins in the zone."""
    # By way of UTC, because arithmetic and comparison within one zone ignore its offset changes.
    return to_ms(datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC))
