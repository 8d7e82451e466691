"""From when on: so long ago, or a moment."""

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from chalicelib.core.clock import to_ms
from nightshift.moment import read_moment
from nightshift.usage import UsageError

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO = re.compile(r"(\d{1,6})([smhd])", re.ASCII)


def read_since(text: str, *, now: datetime) -> int:
    """Return the moment as epoch milliseconds; without a zone it is in UTC. Raises ValueError for what is none."""
    if ago := _AGO.fullmatch(text):
        seconds = timedelta(**{UNITS[ago[2]]: int(ago[1])}).total_seconds()
        return max(to_ms(now) - round(1000 * seconds), 0)
    try:
        moment = read_moment(text, ZoneInfo("UTC"))
    except ValueError:
        raise UsageError(
            f"--since takes 30s, 15m, 2h, 3d or a moment such as 2026-02-01T09:00, and not {text!r:.60}"
        ) from None
    if moment > now:
        raise UsageError(f"--since {text:.60} lies in the future")
    return max(to_ms(moment), 0)
