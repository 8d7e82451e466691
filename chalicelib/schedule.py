"""A schedule: cron text as Unix has it, in a time zone, and which moments are due."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from chalicelib.errors import ConfigurationError
from chalicelib.zones import find_zone, first_moment_from, moments_of, wall_before

FIELDS = ("minute", "hour", "day of month", "month", "day of week")
RANGES = ("0-59", "0-23", "1-31", "1-12 or JAN-DEC", "0-7 or SUN-SAT, both 0 and 7 Sunday")
NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_EVERY = re.compile(r"every(?: ([1-9]\d{0,3}))? (minute|hour|day)s?")
_FIELD = re.compile(r"[0-9A-Za-z*,/-]+")
# A step goes on from the end of a range, and so nowhere; cronsim would go on as from 5/25.
_RANGE_OF_ONE = re.compile(r"\b(\w+)-\1/[1-9]\d*\b")


@dataclass(frozen=True)
class Schedule:
    """When a task is due.

    `text` is five fields of cron, one of the names such as @daily, or "every 15 minutes", and may end in a time zone,
    in UTC without one. A fixed time that the clocks skip is due as soon as they have, and one that they repeat the
    first time; what a `*` in the minute or hour says runs through, as in Debian's cron. Raises ConfigurationError.
    """

    text: str

    def __post_init__(self) -> None:
        if self.every is None:
            _check(self)

    @cached_property
    def every(self) -> timedelta | None:
        """The interval of "every 15 minutes", whose first fire is nobody's to say."""
        found = _EVERY.fullmatch(" ".join(self.text.split()))
        if not found:
            return None
        return timedelta(**{f"{found[2]}s": int(found[1] or 1)})

    @cached_property
    def cron(self) -> str:
        """The five fields, in capitals."""
        words = self._words[:-1] if self._has_zone else self._words
        text = " ".join(words).upper()
        return NAMED.get(text.lower(), _RANGE_OF_ONE.sub(r"\1", text))

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        name = self._words[-1] if self._has_zone else "UTC"
        try:
            return find_zone(name)
        except ValueError:
            raise self._invalid(f"{name!r} is no time zone; name one as IANA does, such as Europe/Berlin") from None

    @property
    def words(self) -> str:
        """The same in English, without the zone."""
        from cronsim.explain import explain

        return self.text.capitalize() if self.every is not None else str(explain(self.cron))

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
    words = schedule.text.split()
    if words and words[0].startswith("@") and words[0].lower() not in NAMED:
        raise schedule._invalid(f"{words[0]} is none of {', '.join(NAMED)}")
    fields = schedule.cron.split()
    if len(fields) != len(FIELDS):
        raise schedule._invalid(
            f"it needs five fields ({', '.join(FIELDS)}) and may end in a time zone, or be such as @daily or "
            '"every 15 minutes"'
        )
    everything = ["*"] * len(FIELDS)
    for n, field in enumerate(fields):
        try:
            # What cronsim takes beyond Unix, such as L and 1#2, EventBridge could not be told.
            if not _FIELD.fullmatch(field) or (n in {2, 4} and re.search(r"L|\dW", field)):
                raise CronSimError
            CronSim(" ".join([*everything[:n], field, *everything[n + 1 :]]), datetime(2024, 1, 1, tzinfo=UTC))
        except CronSimError:
            raise schedule._invalid(f"{field!r} is no {FIELDS[n]}, which is {RANGES[n]}") from None
    try:
        is_ever_due = bool(schedule.next(datetime(2024, 1, 1, tzinfo=UTC), count=1))
    except CronSimError:
        is_ever_due = False
    if not is_ever_due:
        raise schedule._invalid(f"no {FIELDS[2]} {fields[2]} is ever in {FIELDS[3]} {fields[3]}")
