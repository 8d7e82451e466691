"""Other engines of cron, each asked as its users do, beside our own."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import croniter as croniter_  # type: ignore[import-untyped]
from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped]
from cronsim import CronSim

from chalicelib.schedule.schedule import Schedule

Engine = Callable[[str, datetime], Iterator[datetime]]


def here(text: str, start: datetime) -> Iterator[datetime]:
    """Yield the fires after a moment, as Nightshift has them in its zone."""
    return Schedule(f"{text} {start.tzinfo}").after(start)


def cronsim(text: str, start: datetime) -> Iterator[datetime]:
    """Yield them as cronsim has them by itself."""
    return CronSim(text, start)


def croniter(text: str, start: datetime) -> Iterator[datetime]:
    """Yield them as croniter has them, which raises once it has looked for years."""
    times = croniter_.croniter(text, start)
    while True:
        yield times.get_next(datetime)


def apscheduler(text: str, start: datetime) -> Iterator[datetime]:
    """Yield them as APScheduler 3 has them; where it finds none, a job is kept and never run."""
    trigger = CronTrigger.from_crontab(text, timezone=start.tzinfo)
    fire = trigger.get_next_fire_time(None, start)
    while fire:
        yield fire
        fire = trigger.get_next_fire_time(fire, fire)


def fires(engine: Engine, text: str, zone: str, first: str, end: str) -> list[str]:
    """Return the fires from one local time up to, not including, another, as the zone's clocks show them."""
    clocks = ZoneInfo(zone)
    start, last = (datetime.fromisoformat(time).replace(tzinfo=clocks).astimezone(UTC) for time in (first, end))
    # Some give times that these clocks skip: what they mean shows only in UTC.
    found = (fire.astimezone(UTC) for fire in engine(text, (start - timedelta(minutes=1)).astimezone(clocks)))
    return [f"{fire.astimezone(clocks):%d %H:%M}" for fire in takewhile(lambda fire: fire < last, found)]
