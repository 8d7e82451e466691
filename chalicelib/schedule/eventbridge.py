"""A schedule's rule in EventBridge: one expression that fires whenever the schedule is due, and rarely otherwise.

EventBridge's rules are in UTC and restrict only one of the two day fields. So the expression has every UTC time that
the local time can be in its zone, and Schedule.is_due drops the surplus fires.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, reduce
from operator import or_
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cronsim import CronSim

if TYPE_CHECKING:
    from chalicelib.schedule.schedule import Schedule

# A rule stays until the next deployment. Zones' laws change sooner than in ten years.
HORIZON = timedelta(days=3653)
# No zone keeps an offset for a shorter time; Morocco's during Ramadan is the shortest.
SAMPLE = timedelta(days=7)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
DAYS = HORIZON // DAY + 4
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An expression for EventBridge, and how many of its fires a day may be dropped at most."""

    expression: str
    surplus: int


@dataclass(frozen=True, kw_only=True)
class Emitted:
    """Day of month, month and day of week for EventBridge, and whether they match the wanted days only."""

    fields: str
    is_exact: bool


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Sets of days as integers, the horizon's first day in the lowest bit: all days, and the days of each value."""

    first: datetime
    whole: int
    days: Mapping[int, int]
    months: Mapping[int, int]
    weekdays: Mapping[int, int]

    def bit(self, moment: datetime) -> int:
        """Return the day of a naive moment; no day if it is outside the horizon."""
        n = (moment - self.first) // DAY
        return 1 << n & self.whole if n >= 0 else 0

    def matching(self, cron: Any) -> int:
        """Return the days that a cron expression matches."""
        in_month = _union(self.days, cron.days)
        in_week = _union(self.weekdays, {weekday % 7 for weekday in cron.weekdays})
        return _union(self.months, cron.months) & (in_month & in_week if cron.day_and else in_month | in_week)

    def emitted(self, wanted: int) -> Emitted:
        """Return the fields that match all these days, and as few others as possible."""
        months, days, weekdays = (
            {value for value, bits in field.items() if bits & wanted}
            for field in (self.months, self.days, self.weekdays)
        )
        month, in_months = _list(months, range(1, 13)), _union(self.months, months)
        names = ",".join(WEEKDAYS[weekday] for weekday in sorted(weekdays))
        # EventBridge restricts one of the two day fields. `L` is the day before the first of the next month.
        ways = {
            f"{_list(days, range(1, 32))} {month} ?": in_months & _union(self.days, days),
            f"L {month} ?": in_months & self.days[1] >> 1,
            f"? {month} {names}": in_months & _union(self.weekdays, weekdays),
        }
        possible = {fields: taken for fields, taken in ways.items() if not self.inner & wanted & ~taken}
        fields = min(possible, key=lambda fields: possible[fields].bit_count())
        return Emitted(fields=fields, is_exact=not self.inner & possible[fields] & ~wanted)

    @property
    def inner(self) -> int:
        """The days whose neighbours are known too."""
        return self.whole >> 4 << 2


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change of a zone's clocks: its naive moment in UTC, and the offsets before and after it."""

    at: datetime
    before: timedelta
    after: timedelta


def rule_of(schedule: Schedule, *, now: datetime) -> Rule:
    """Return the rule for a schedule, correct for ten years from the day of an aware moment."""
    if schedule.every is not None:
        return Rule(expression=_rate(schedule.every), surplus=0)
    cron: Any = CronSim(schedule.cron, datetime(2024, 1, 1, tzinfo=UTC))
    local_times = {timedelta(hours=hour, minutes=minute) for hour in cron.hours for minute in cron.minutes}
    start = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    calendar, changes = _calendar(start), _changes(schedule.zone, start)
    days = calendar.matching(cron)
    if not days:
        # Such as a 29th of February that is a Sunday: the next one is more than ten years away.
        return rule_of(schedule, now=schedule.next(start, count=1)[0])
    utc_times, utc_days = set(), 0
    for offset, its_days in _offsets(schedule.zone, start).items():
        if days & its_days:
            times = {time - offset for time in local_times}
            utc_times |= times
            for shift in {time // DAY for time in times}:
                utc_days |= _shifted(days & its_days, shift)
    if schedule.is_fixed:
        for change in changes:
            for day in _days_skipped_at(change, local_times):
                if days & calendar.bit(day):
                    utc_times.add(change.at - day)
                    utc_days |= calendar.bit(change.at)
    minutes, hours = {time // MINUTE % 60 for time in utc_times}, {time // MINUTE // 60 % 24 for time in utc_times}
    emitted = calendar.emitted(utc_days & calendar.whole)
    expression = f"{_list(minutes, range(60))} {_list(hours, range(24))} {emitted.fields}"
    # If a day of the rule lacks some of the times, it may lack all of them.
    has_all = emitted.is_exact and (len({time // DAY for time in utc_times}) == 1 or days == calendar.whole)
    fewest = _fewest_due(local_times, changes, is_fixed=schedule.is_fixed) if has_all else 0
    return Rule(expression=f"cron({expression} *)", surplus=len(hours) * len(minutes) - fewest)


def _rate(every: timedelta) -> str:
    minutes = every // MINUTE
    size, unit = next(
        (size, unit) for size, unit in ((1440, "day"), (60, "hour"), (1, "minute")) if minutes % size == 0
    )
    return f"rate({minutes // size} {unit}{'s' if minutes > size else ''})"


def _list(values: Collection[int], whole: range) -> str:
    if set(whole) <= set(values):
        return "*"
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)


def _days_skipped_at(change: Change, times: Collection[timedelta]) -> set[datetime]:
    """Return the days, as midnights, on which the clocks skip one of the times."""
    start, end = change.at + change.before, change.at + change.after
    first = start.replace(hour=0, minute=0)
    days = [first + n * DAY for n in range((end - first) // DAY + 1)]
    return {day for day in days if any(start <= day + time < end for time in times)}


def _fewest_due(times: Collection[timedelta], changes: Collection[Change], *, is_fixed: bool) -> int:
    """Return the smallest number of these daily times that is due in a day of UTC."""
    # Most zones repeat the same two changes.
    ways = {(change.at - change.at.replace(hour=0, minute=0), change.before, change.after) for change in changes}
    fewest = len(times)
    for at, before, after in ways:
        due = _due_around(at, before, after, times, is_fixed=is_fixed)
        # The day of the change, and the next day, in which repeated times may fall.
        fewest = min(fewest, *(sum(day * DAY <= moment < (day + 1) * DAY for moment in due) for day in (0, 1)))
    return fewest


def _due_around(
    at: timedelta, before: timedelta, after: timedelta, times: Collection[timedelta], *, is_fixed: bool
) -> set[timedelta]:
    """Return when the times around a change are due, as offsets from the start of the change's day in UTC."""
    due: set[timedelta] = set()
    for wall in (day * DAY + time for day in range(-2, 4) for time in times):
        moments = [*([wall - before] if wall - before < at else []), *([wall - after] if wall - after >= at else [])]
        # As in Schedule: a skipped time is due at the change, and a repeated one the first time.
        due.update((moments[:1] or [at]) if is_fixed else moments)
    return due


@cache
def _changes(zone: ZoneInfo, start: datetime) -> tuple[Change, ...]:
    """Return the changes of the zone's clocks within the horizon."""
    changes = []
    for n in range(HORIZON // SAMPLE):
        earlier, later = start + n * SAMPLE, start + (n + 1) * SAMPLE
        before, after = _offset(zone, earlier), _offset(zone, later)
        if after != before:
            at = _find_change(zone, earlier, later).replace(tzinfo=None)
            changes.append(Change(at=at, before=before, after=after))
    return tuple(changes)


@cache
def _calendar(start: datetime) -> Calendar:
    """Return the calendar of the horizon, with a few days before and after it."""
    first = start.replace(tzinfo=None) - 2 * DAY
    days: defaultdict[int, int] = defaultdict(int)
    months: defaultdict[int, int] = defaultdict(int)
    weekdays: defaultdict[int, int] = defaultdict(int)
    for n in range(DAYS):
        day = first + n * DAY
        days[day.day] |= 1 << n
        months[day.month] |= 1 << n
        weekdays[day.isoweekday() % 7] |= 1 << n
    return Calendar(first=first, whole=(1 << DAYS) - 1, days=days, months=months, weekdays=weekdays)


@cache
def _offsets(zone: ZoneInfo, start: datetime) -> dict[timedelta, int]:
    """Return, by offset, the days of the calendar on which the zone may have it."""
    first = start - 2 * DAY
    found: defaultdict[timedelta, int] = defaultdict(int)
    for n in range(DAYS):
        # A day begins in the east 14 hours before UTC's, and ends in the west 12 hours after it.
        for end in (timedelta(hours=-14), timedelta(hours=36)):
            found[_offset(zone, first + n * DAY + end)] |= 1 << n
    return dict(found)


def _union(field: Mapping[int, int], values: Iterable[int]) -> int:
    return reduce(or_, (field[value] for value in values), 0)


def _shifted(days: int, by: int) -> int:
    return days << by if by >= 0 else days >> -by


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _find_change(zone: ZoneInfo, before: datetime, after: datetime) -> datetime:
    """Return the first minute with the later of two offsets."""
    earlier = _offset(zone, before)
    while after - before > MINUTE:
        middle = before + (after - before) // MINUTE // 2 * MINUTE
        if _offset(zone, middle) == earlier:
            before = middle
        else:
            after = middle
    return after
