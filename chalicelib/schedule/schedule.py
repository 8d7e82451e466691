"""A task's schedule: Unix cron text or an interval, in a time zone, and the moments at which it is due."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from chalicelib.core.clock import to_ms
from chalicelib.core.errors import ConfigurationError
from chalicelib.schedule import cron
from chalicelib.schedule.zones import find_zone, first_moment_from, moments_of, wall_before

NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
# Lambda allows about 4,000 characters for all of a stage's variables.
LONGEST = 1000
_EVERY = re.compile(r"every(?: ([1-9][0-9]{0,3}))? (minute|hour|day)s?", re.ASCII | re.IGNORECASE)
# How a crontab sets the zone: before the fields.
_ZONE_FIRST = re.compile(r"(CRON_)?TZ=", re.IGNORECASE)
# cronsim says "31th".
_ORDINAL = re.compile(r"(?<!1)([123])th\b")
_ENDINGS = {"1": "st", "2": "nd", "3": "rd"}


@dataclass(frozen=True, eq=False)
class Schedule:
    """When a task is due.

    `text` is five cron fields, a name such as @daily, or "every 15 minutes"; a time zone may follow, otherwise UTC.
    As in Debian's cron, a fixed time that the clocks skip is due right after the change, and one that they repeat is
    due the first time; with a `*` in the minute or hour the schedule runs through. Two schedules are equal if they are
    due at the same moments. Raises ConfigurationError.
    """

    text: str

    def __post_init__(self) -> None:
        if self.every is None:
            _check(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and self._meaning == other._meaning

    def __hash__(self) -> int:
        return hash(self._meaning)

    @cached_property
    def every(self) -> timedelta | None:
        """The interval of "every 15 minutes"; EventBridge alone decides when its fires are."""
        interval = self._interval
        return timedelta(**{f"{interval[1]}s": interval[0]}) if interval else None

    @cached_property
    def cron(self) -> str:
        """The five fields, in capitals."""
        text = " ".join(self._words[:-1] if self._has_zone else self._words)
        return NAMED.get(text.lower()) or cron.normalise(text)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        name = self._words[-1] if self._has_zone else "UTC"
        try:
            return find_zone(name)
        except ValueError:
            given = _ZONE_FIRST.match(name)
            hint = f"write {name[given.end() :]}" if given else "use an IANA name such as Europe/Berlin"
            raise self._invalid(f"{name!r} is not a time zone; {hint}") from None

    @property
    def words(self) -> str:
        """The schedule in English, without the zone."""
        from cronsim.explain import Expression

        if self._interval:
            number, unit = self._interval
            return f"Every {unit}" if number == 1 else f"Every {number} {unit}s"
        # cronsim alone would explain `1-31 * 1` as Mondays.
        fields = cron.without_unrestricted_days(self.cron)
        expression = Expression(cron.list_steps(fields).split())
        # A leading star means that both days must match; list_steps may have replaced it.
        expression.day_and = any(field.startswith("*") for field in fields.split()[2::2])
        return _ORDINAL.sub(lambda found: found[1] + _ENDINGS[found[1]], expression.explain())

    @property
    def is_fixed(self) -> bool:
        """Whether it names fixed times of a day, which the clocks may skip or repeat, without a leading `*`."""
        minute, hour, *_ = self.cron.split()
        return not minute.startswith("*") and not hour.startswith("*")

    def is_due(self, moment: datetime) -> bool:
        """Return whether the minute of an aware moment is due."""
        if self.every is not None:
            return True
        minute = moment.astimezone(UTC).replace(second=0, microsecond=0)
        return next(self.after(minute - timedelta(minutes=1)), None) == minute

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the moments in UTC that are due after an aware one; none for an interval."""
        if self.every is not None:
            return
        latest = moment.astimezone(UTC)
        for due in self._fires(wall_before(latest, self.zone)):
            # Several skipped times are due at one moment, and a repeated time may already be past.
            if due > latest:
                latest = due
                yield due

    def between(self, first: datetime, last: datetime, *, limit: int) -> list[datetime]:
        """Return the newest `limit` moments due after `first` and up to `last`, oldest first."""
        found: list[datetime] = []
        for due in self.after(first):
            if due > last:
                break
            found.append(due)
        return found[-limit:] if limit else []

    def before(self, moment: datetime) -> datetime:
        """Return the latest moment due before this one; for an interval, one interval earlier."""
        if self.every is not None:
            return moment - self.every
        back = timedelta(hours=1)
        while not (found := self.between(moment - back, moment - timedelta.resolution, limit=1)):
            back *= 2
        return found[0]

    def next(self, moment: datetime, *, count: int) -> list[datetime]:
        """Return the first `count` moments due after this one."""
        return list(islice(self.after(moment), count))

    def _fires(self, wall: datetime) -> Iterator[datetime]:
        """Yield the moments in UTC, in order, that are due after the clocks show this local time."""
        # cronsim may loop or err in zones that change their clocks at midnight or by less than an hour, so it only gets
        # local times without a zone.
        walls: Iterator[datetime] = CronSim(self.cron, wall)
        if self.is_fixed:
            yield from (first_moment_from(wall, self.zone) for wall in walls)
            return
        # Second occurrences of repeated local times, not yet due.
        repeated: deque[datetime] = deque()
        for wall in walls:
            moments = moments_of(wall, self.zone)
            while repeated and moments and repeated[0] < moments[0]:
                yield repeated.popleft()
            yield from moments[:1]
            repeated.extend(moments[1:])
        yield from repeated

    @cached_property
    def _meaning(self) -> tuple[object, ...]:
        return (self.every,) if self.every else (*cron.meaning(self.cron), self.is_fixed, self.zone.key)

    @cached_property
    def _interval(self) -> tuple[int, str] | None:
        found = _EVERY.fullmatch(" ".join(self._words))
        return (int(found[1] or 1), found[2].lower()) if found else None

    @property
    def _words(self) -> list[str]:
        return self.text.split()

    @property
    def _has_zone(self) -> bool:
        words = self._words
        return len(words) == (2 if words and words[0].startswith("@") else 6)

    def _invalid(self, reason: str) -> ConfigurationError:
        return ConfigurationError(f"the schedule {self.text!r} is not valid: {reason}")


def is_expression(text: str) -> bool:
    """Return whether the text is an expression of EventBridge's own, which is always in UTC."""
    return text.startswith(("rate(", "cron("))


def schedule_of(task: str, text: str) -> Schedule:
    """Return a task's schedule: the stage's variable NAME_SCHEDULE, or else this text.

    Raises ConfigurationError, which names the variable or the task.
    """
    variable = f"{task.upper()}_SCHEDULE"
    override = os.environ.get(variable)
    try:
        return Schedule(override or text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{variable if override else task}: {error}") from None


def _check(schedule: Schedule) -> None:
    text, words = schedule.text, schedule.text.split()
    if len(text) > LONGEST:
        raise ConfigurationError(f"a schedule has at most {LONGEST} characters; {text[:20]!r}… has {len(text)}")
    if words and _ZONE_FIRST.match(words[0]):
        named, zone = words[1:] or ["0 8 * * *"], words[0].partition("=")[2] or "Europe/Berlin"
        raise schedule._invalid(f'the time zone comes last; write "{" ".join([*named, zone])}"')
    if words and words[0].startswith("@") and words[0].lower() not in NAMED:
        raise schedule._invalid(f"{words[0]} is not one of {', '.join(NAMED)}")
    if words and words[0].lower() == "every":
        raise schedule._invalid(_why_no_interval(words))
    fields = schedule.cron.split()
    if len(fields) != len(cron.FIELDS):
        names = ", ".join(field.name for field in cron.FIELDS)
        raise schedule._invalid(
            f'it needs five fields ({names}) and an optional time zone, or a form such as @daily or "every 15 minutes"'
        )
    try:
        cron.check(schedule.cron)
    except ValueError as error:
        raise schedule._invalid(str(error)) from None
    try:
        is_ever_due = bool(schedule.next(datetime(2024, 1, 1, tzinfo=UTC), count=1))
    except CronSimError:
        is_ever_due = False
    if not is_ever_due:
        raise schedule._invalid(f"day of month {fields[2]} never occurs in month {fields[3]}")


def _why_no_interval(words: Sequence[str]) -> str:
    if _EVERY.fullmatch(" ".join(words[:-1])):
        return f"an interval has no time zone, since it starts at the deployment; remove {words[-1]}"
    return 'write an interval as "every 15 minutes", with 1 to 9999 minutes, hours or days'


@dataclass(frozen=True, kw_only=True)
class Window:
    """A calendar day in a zone as a half-open range of epoch milliseconds; 23 to 25 hours when clocks change."""

    day: date
    start_ms: int
    end_ms: int


def window_before(scheduled_for: datetime, zone: ZoneInfo) -> Window:
    """Return the calendar day before the one in which `scheduled_for` falls in the zone."""
    day = scheduled_for.astimezone(zone).date() - timedelta(days=1)
    return Window(day=day, start_ms=midnight_ms(day, zone), end_ms=midnight_ms(day + timedelta(days=1), zone))


def midnight_ms(day: date, zone: ZoneInfo) -> int:
    """Return the moment at which a day begins in the zone."""
    # Arithmetic and comparison within one zone ignore its offset changes, so convert to UTC first.
    return to_ms(datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC))
