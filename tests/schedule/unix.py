"""Cron as docs/schedules.md tells it, for every minute of two years: neither cronsim's work nor chalicelib's."""

from collections.abc import Sequence
from datetime import date
from itertools import pairwise

from tests.schedule.clocks import Stretch
from tests.schedule.minutes import MARGIN, MARGIN_DAYS, calendar, part, spread

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


def values(text: str, first: int, last: int, names: Sequence[str] = ()) -> set[int]:
    """Return the numbers that a field means; names stand for those from `first` on.

    A step from one number ends with the week's last name, Saturday, and elsewhere at `last`.
    """

    def number(word: str) -> int:
        return first + names.index(word) if word in names else int(word)

    found: set[int] = set()
    for each in text.upper().split(","):
        reach, _, step = each.partition("/")
        low, _, high = reach.partition("-")
        if reach == "*":
            start, end = first, last
        else:
            start = number(low)
            stop = last if last != 7 or start == 7 else 6
            end = number(high) if high else stop if step else start
        found |= set(range(start, end + 1, int(step or 1)))
    return found


class UnixCron:
    """Five fields of cron."""

    def __init__(self, text: str) -> None:
        minute, hour, day, month, weekday = text.split()
        self._minutes, self._hours = values(minute, 0, 59), values(hour, 0, 23)
        self._days, self._months = values(day, 1, 31), values(month, 1, 12, MONTHS)
        self._weekdays = {number or 7 for number in values(weekday, 0, 7, WEEKDAYS)}
        self._is_fixed = minute[0] != "*" and hour[0] != "*"
        self._needs_both = day[0] == "*" or weekday[0] == "*"

    def due(self, start: date, stretches: Sequence[Stretch]) -> int:
        """Return the minutes of UTC that are due in a zone with these clocks."""
        local = self._local(start)
        first = stretches[0]
        bits = part(local, MARGIN + first.start + first.offset, MARGIN + first.end + first.offset)
        for before, stretch in pairwise(stretches):
            shown = MARGIN + stretch.start + stretch.offset
            here = part(local, shown, shown + stretch.end - stretch.start)
            expected = MARGIN + stretch.start + before.offset
            if self._is_fixed and shown > expected and part(local, expected, shown):
                # Due, however many they are, as soon as the clocks have skipped them.
                here |= 1
            if self._is_fixed and shown < expected:
                # Were due the first time.
                here = here >> expected - shown << expected - shown
            bits |= here << stretch.start
        return bits

    def _local(self, start: date) -> int:
        """Return the minutes that match, as the wall shows them, from the margin before the start on."""
        days = calendar(start, margin=MARGIN_DAYS)
        both, months, in_month, in_week = self._needs_both, self._months, self._days, self._weekdays
        is_taken = [
            month in months and (all if both else any)((day in in_month, weekday in in_week))
            for day, month, weekday in days
        ]
        return spread(is_taken, self._hours, self._minutes)
