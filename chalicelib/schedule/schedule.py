"""A schedule: cron text as Unix has it, in a time zone, and which moments are due."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from chalicelib.core.errors import ConfigurationError
from chalicelib.core.zones import find_zone, first_moment_from, moments_of, wall_before
from chalicelib.schedule import cron

NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
# All that Lambda takes in the variables of a stage is four thousand.
LONGEST = 1000
_EVERY = re.compile(r"every(?: ([1-9][0-9]{0,3}))? (minute|hour|day)s?", re.ASCII | re.IGNORECASE)
# Where a crontab names it, on a line or before the fields.
_ZONE_FIRST = re.compile(r"(CRON_)?TZ=", re.IGNORECASE)
# What cronsim calls the 31th.
_ORDINAL = re.compile(r"(?<!1)([123])th\b")
_ENDINGS = {"1": "st", "2": "nd", "3": "rd"}


@dataclass(frozen=True, eq=False)
class Schedule:
    """When a task is due.

    `text` is five fields of cron, one of the names such as @daily, or "every 15 minutes", and may end in a time zone,
    in UTC without one. A fixed time that the clocks skip is due as soon as they have, and one that they repeat the
    first time; what a `*` in the minute or hour says runs through, as in Debian's cron. Raises ConfigurationError.
    Two are equal that are due at the same moments, however they are written.
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
        """The interval of "every 15 minutes", whose first fire is nobody's to say."""
        interval = self._interval
        return timedelta(**{f"{interval[1]}s": interval[0]}) if interval else None

    @cached_property
    def cron(self) -> str:
        """The five fields, in capitals."""
        text = " ".join(self._words[:-1] if self._has_zone else self._words)
        return NAMED.get(text.lower()) or cron.plain(text)

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        name = self._words[-1] if self._has_zone else "UTC"
        try:
            return find_zone(name)
        except ValueError:
            given = _ZONE_FIRST.match(name)
            hint = f"write {name[given.end() :]}" if given else "name one as IANA does, such as Europe/Berlin"
            raise self._invalid(f"{name!r} is no time zone; {hint}") from None

    @property
    def words(self) -> str:
        """The same in English, without the zone."""
        from cronsim.explain import Expression

        if self._interval:
            number, unit = self._interval
            return f"Every {unit}" if number == 1 else f"Every {number} {unit}s"
        # By itself cronsim tells of `1-31 * 1` that it is on Mondays.
        fields = cron.without_vain_days(self.cron)
        expression = Expression(cron.spelt_out(fields).split())
        # Whether both days must be right is told by a star at the beginning, which may be spelt out.
        expression.day_and = any(field.startswith("*") for field in fields.split()[2::2])
        told = expression.explain()
        return _ORDINAL.sub(lambda found: found[1] + _ENDINGS[found[1]], told)

    @property
    def is_fixed(self) -> bool:
        """Whether it names times of a day, which the clocks may skip or repeat, and does not just run through."""
        minute, hour, *_ = self.cron.split()
        return not minute.startswith("*") and not hour.startswith("*")

    def is_due(self, moment: datetime) -> bool:
        """Return whether the minute of an aware moment is due."""
        if self.every is not None:
            return True
        minute = moment.astimezone(UTC).replace(second=0, microsecond=0)
        return next(self.after(minute - timedelta(minutes=1)), None) == minute

    def after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the moments, in UTC, that are due after this aware one; none for an interval."""
        if self.every is not None:
            return
        latest = moment.astimezone(UTC)
        for due in self._fires(wall_before(latest, self.zone)):
            # Two times that the clocks skip become one moment, and one that they repeat may be over already.
            if due > latest:
                latest = due
                yield due

    def between(self, first: datetime, last: datetime, *, limit: int) -> list[datetime]:
        """Return at most so many of the moments due after `first` and up to `last`, the newest ones, oldest first."""
        found: list[datetime] = []
        for due in self.after(first):
            if due > last:
                break
            found.append(due)
        return found[-limit:] if limit else []

    def before(self, moment: datetime) -> datetime:
        """Return the moment that was due last before this one; an interval's is as long ago as it is."""
        if self.every is not None:
            return moment - self.every
        back = timedelta(hours=1)
        while not (found := self.between(moment - back, moment - timedelta.resolution, limit=1)):
            back *= 2
        return found[0]

    def next(self, moment: datetime, *, count: int) -> list[datetime]:
        """Return so many of the moments due after this one."""
        return list(islice(self.after(moment), count))

    def _fires(self, wall: datetime) -> Iterator[datetime]:
        """Yield the moments, in UTC and in order, that are due once the clocks show more than this."""
        # By itself cronsim goes on for ever, or astray, where a zone changes its clocks by less than an hour or at
        # midnight: it is asked about the wall alone.
        walls: Iterator[datetime] = CronSim(self.cron, wall)
        if self.is_fixed:
            yield from (first_moment_from(wall, self.zone) for wall in walls)
            return
        # What the clocks will show once more, after other times that come first.
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


def _check(schedule: Schedule) -> None:
    text, words = schedule.text, schedule.text.split()
    if len(text) > LONGEST:
        raise ConfigurationError(f"a schedule has {LONGEST} characters at most, and {text[:20]!r}… has {len(text)}")
    if words and _ZONE_FIRST.match(words[0]):
        named, zone = words[1:] or ["0 8 * * *"], words[0].partition("=")[2] or "Europe/Berlin"
        raise schedule._invalid(f'the time zone stands at the end; write "{" ".join([*named, zone])}"')
    if words and words[0].startswith("@") and words[0].lower() not in NAMED:
        raise schedule._invalid(f"{words[0]} is none of {', '.join(NAMED)}")
    if words and words[0].lower() == "every":
        raise schedule._invalid(_why_no_interval(words))
    fields = schedule.cron.split()
    if len(fields) != len(cron.FIELDS):
        names = ", ".join(field.name for field in cron.FIELDS)
        raise schedule._invalid(
            f'it needs five fields ({names}) and may end in a time zone, or be such as @daily or "every 15 minutes"'
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
        raise schedule._invalid(f"no day of month {fields[2]} is ever in month {fields[3]}")


def _why_no_interval(words: Sequence[str]) -> str:
    if _EVERY.fullmatch(" ".join(words[:-1])):
        return f"an interval has no time zone, since it counts from its deployment on; leave {words[-1]} out"
    return (
        'an interval is every minute, hour or day, or every so many of them, from 1 to 9999, such as "every 15 minutes"'
    )
