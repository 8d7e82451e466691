"""The moment that the bench takes for now, so that it measures the same on every date."""

from datetime import UTC, datetime, timedelta

# In the past, whatever a machine's clock says: a run for a moment to come is refused.
NOW = datetime(2025, 11, 26, 12, tzinfo=UTC)


def fires(count: int, *, hour: int) -> list[datetime]:
    """Return as many daily fires at this hour, the newest first; all of them lie before NOW."""
    newest = NOW.replace(hour=hour, minute=0)
    newest = newest if newest <= NOW else newest - timedelta(days=1)
    return [newest - timedelta(days=n) for n in range(count)]
