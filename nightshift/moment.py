"""A moment as people type it: with a zone, or by the clock of a task's own zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from nightshift.usage import UsageError

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
# Beyond these, other zones have no such year.
FIRST_YEAR, LAST_YEAR = 1970, 9998


def read_moment(text: str, zone: ZoneInfo) -> datetime:
    """Return the moment in UTC, of a day its first. Raises ValueError for what is none, or what the clocks skip."""
    local, day = _read(text), _read_day(text)
    if local.tzinfo is not None:
        return local.astimezone(UTC)
    moment = local.replace(tzinfo=zone).astimezone(UTC)
    # A day is meant as a whole, from whenever it begins.
    if day is None and moment.astimezone(zone).replace(tzinfo=None) != local:
        raise UsageError(f"the clocks of {zone} skip {text}; give the moment in UTC, as in 2026-03-29T01:00:00Z")
    return moment


def read_end(text: str, zone: ZoneInfo) -> datetime:
    """Return the moment in UTC, of a day its last second. Raises ValueError as `read_moment` does."""
    moment, day = read_moment(text, zone), _read_day(text)
    return moment if day is None else read_moment((day + DAY).isoformat(), zone) - SECOND


def _read(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if FIRST_YEAR <= moment.year <= LAST_YEAR:
            return moment
    except ValueError:
        pass
    raise UsageError(
        f"{text!r:.60} is no moment such as 2026-02-01T09:00, 2026-02-01, or with a zone 2026-02-01T08:00:00Z"
    )


def _read_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
