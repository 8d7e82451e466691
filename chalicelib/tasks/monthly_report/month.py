"""A calendar month, written as 2026-02, and the moments that it spans in a time zone."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from chalicelib.core.clock import to_ms
from chalicelib.schedule.schedule import midnight_ms

_WRITTEN = re.compile(r"([0-9]{4})-([0-9]{2})")

# Moments are epoch milliseconds, and the end of a month must still be a date.
_FIRST_YEAR, _LAST_YEAR = 1970, 9998


@dataclass(frozen=True, kw_only=True, order=True)
class Month:
    """A month from 1970-01 to 9998-12, `month` counted from 1. Raises ValueError for any other."""

    year: int
    month: int

    def __post_init__(self) -> None:
        if not (_FIRST_YEAR <= self.year <= _LAST_YEAR and 1 <= self.month <= 12):
            raise ValueError(f"{self} is not a month between {_FIRST_YEAR}-01 and {_LAST_YEAR}-12.")

    @classmethod
    def parse(cls, text: str) -> Month:
        """Return the month written as 2026-02. Raises ValueError for anything else."""
        if not (written := _WRITTEN.fullmatch(text)):
            # Truncated, since others write it.
            raise ValueError(f"A month is written like 2026-02, not {text[:32]!r}.")
        return cls(year=int(written[1]), month=int(written[2]))

    @classmethod
    def ended_before(cls, moment: datetime, zone: ZoneInfo) -> Month:
        """Return the last month that has ended in the zone at or before an aware moment."""
        local = moment.astimezone(zone)
        return cls(year=local.year, month=local.month).previous()

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def name(self) -> str:
        """The month as people write it: February 2026."""
        return f"{date(self.year, self.month, 1):%B %Y}"

    def previous(self) -> Month:
        """Return the month before this one."""
        return Month(year=self.year, month=self.month - 1) if self.month > 1 else Month(year=self.year - 1, month=12)

    def next(self) -> Month:
        """Return the month after this one."""
        return Month(year=self.year, month=self.month + 1) if self.month < 12 else Month(year=self.year + 1, month=1)

    def window(self, zone: ZoneInfo) -> tuple[int, int]:
        """Return the month in the zone as a half-open range of epoch milliseconds, across clock changes."""
        first = date(self.year, self.month, 1)
        return midnight_ms(first, zone), midnight_ms(first + timedelta(days=len(self.days())), zone)

    def days(self) -> list[str]:
        """Return the month's days, in order, as 2026-02-01."""
        return [f"{self}-{day:02}" for day in range(1, monthrange(self.year, self.month)[1] + 1)]

    def is_closed(self, at: datetime, zone: ZoneInfo) -> bool:
        """Return whether the month has ended in the zone at an aware moment."""
        return to_ms(at) >= self.window(zone)[1]
