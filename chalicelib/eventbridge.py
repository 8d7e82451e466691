"""What EventBridge is told of a schedule: one expression that fires whenever it is due, and seldom besides.

EventBridge's rules know UTC alone, and restrict only one of the two day fields. So the expression is widened to every
UTC time that the zone's clocks make of the local one, and Schedule.is_due drops what fires in vain.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from cronsim import CronSim

if TYPE_CHECKING:
    from chalicelib.schedule import Schedule

# A rule stays until the next deployment; by then some zone's law will have changed anyway.
HORIZON = timedelta(days=3653)
# Shorter than any zone keeps an offset: Morocco's, in the month of Ramadan.
SAMPLE = timedelta(days=7)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
LAST_DAYS = {28, 29, 30, 31}


@dataclass(frozen=True, kw_only=True)
class Rule:
    """An expression for EventBridge, and how many of its fires a day may be dropped at most."""

    expression: str
    surplus: int


@dataclass(frozen=True, kw_only=True)
class Change:
    """A moment in UTC, without a zone, and how far a zone's clocks are ahead before it and from it on."""

    at: datetime
    before: timedelta
    after: timedelta


def rule_of(schedule: Schedule, *, now: datetime) -> Rule:
    """Return the rule for a schedule, right for ten years from the day of an aware moment."""
    if schedule.every is not None:
        return Rule(expression=_rate(schedule.every), surplus=0)
    cron: Any = CronSim(schedule.cron, datetime(2024, 1, 1, tzinfo=UTC))
    local_times = {timedelta(hours=hour, minutes=minute) for hour in cron.hours for minute in cron.minutes}
    offsets, changes = _clocks(schedule.zone, now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
    utc_times = {time - offset for time in local_times for offset in offsets}
    if schedule.is_fixed:
        utc_times |= {change.at - day for change in changes for day in _days_skipped_at(change, local_times)}
    shifts = {time // DAY for time in utc_times}
    minutes, hours = {time // MINUTE % 60 for time in utc_times}, {time // MINUTE // 60 % 24 for time in utc_times}
    months = {month + shift for month in cron.months for shift in (0, *shifts)}
    day, weekday, is_exact = _days(cron, shifts)
    expression = " ".join(
        (
            _list(minutes, range(60)),
            _list(hours, range(24)),
            day,
            _list({(month - 1) % 12 + 1 for month in months}, range(1, 13)),
            weekday,
        )
    )
    is_exact = is_exact and (len(cron.months) == 12 or shifts == {0})
    fewest = _fewest_due(local_times, changes, is_fixed=schedule.is_fixed) if is_exact else 0
    return Rule(expression=f"cron({expression} *)", surplus=len(hours) * len(minutes) - fewest)


def _rate(every: timedelta) -> str:
    minutes = every // MINUTE
    size, unit = next(
        (size, unit) for size, unit in ((1440, "day"), (60, "hour"), (1, "minute")) if minutes % size == 0
    )
    return f"rate({minutes // size} {unit}{'s' if minutes > size else ''})"


def _days(cron: Any, shifts: Collection[int]) -> tuple[str, str, bool]:
    """Return the two day fields, and whether they fire on no day that has nothing due."""
    weekdays = {weekday % 7 for weekday in cron.weekdays}
    has_day, has_weekday = len(cron.days) < 31, len(weekdays) < 7
    if not cron.day_and or not (has_day or has_weekday):
        # Either of the two will do, which EventBridge cannot be told; where one takes all days, they all are due.
        return "*", "?", not (has_day and has_weekday)
    if has_weekday:
        shifted = sorted({(weekday + shift) % 7 for weekday in weekdays for shift in shifts})
        return "?", ",".join(WEEKDAYS[weekday] for weekday in shifted), len(shifts) == 1 and not has_day
    return _list(_shifted(cron.days, shifts), range(1, 32)), "?", set(shifts) == {0}


def _shifted(days: Collection[int], shifts: Collection[int]) -> set[int]:
    found = {day + shift for day in days for shift in shifts}
    if -1 in shifts and 1 in days:
        found |= LAST_DAYS
    if 1 in shifts and LAST_DAYS & set(days):
        found.add(1)
    return found & set(range(1, 32))


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
    """Return the days, as midnights, of which the clocks skip one of the times."""
    start, end = change.at + change.before, change.at + change.after
    first = start.replace(hour=0, minute=0)
    days = [first + n * DAY for n in range((end - first) // DAY + 1)]
    return {day for day in days if any(start <= day + time < end for time in times)}


def _fewest_due(times: Collection[timedelta], changes: Collection[Change], *, is_fixed: bool) -> int:
    """Return how many of these times are due in a day of UTC at least, where they are due every day."""
    # Most zones have two ways in which they do it, again and again.
    ways = {(change.at - change.at.replace(hour=0, minute=0), change.before, change.after) for change in changes}
    fewest = len(times)
    for at, before, after in ways:
        due = _due_around(at, before, after, times, is_fixed=is_fixed)
        # The day of the change, and the next, in which times come that it shows once more.
        fewest = min(fewest, *(sum(day * DAY <= moment < (day + 1) * DAY for moment in due) for day in (0, 1)))
    return fewest


def _due_around(
    at: timedelta, before: timedelta, after: timedelta, times: Collection[timedelta], *, is_fixed: bool
) -> set[timedelta]:
    """Return when the times of some days are due, counted as the change is from the beginning of its day in UTC."""
    due: set[timedelta] = set()
    for wall in (day * DAY + time for day in range(-2, 4) for time in times):
        moments = [*([wall - before] if wall - before < at else []), *([wall - after] if wall - after >= at else [])]
        # As Schedule has it: what is skipped is due at once, and what is repeated was.
        due.update((moments[:1] or [at]) if is_fixed else moments)
    return due


@cache
def _clocks(zone: ZoneInfo, start: datetime) -> tuple[frozenset[timedelta], tuple[Change, ...]]:
    """Return the zone's offsets and their changes until the horizon."""
    offsets, changes = {_offset(zone, start)}, []
    for n in range(HORIZON // SAMPLE):
        earlier, later = start + n * SAMPLE, start + (n + 1) * SAMPLE
        before, after = _offset(zone, earlier), _offset(zone, later)
        offsets.add(after)
        if after != before:
            at = _find_change(zone, earlier, later).replace(tzinfo=None)
            changes.append(Change(at=at, before=before, after=after))
    return frozenset(offsets), tuple(changes)


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
