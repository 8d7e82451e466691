"""The day before a fire, in its zone, through every change of its clocks."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.clock import to_ms
from chalicelib.schedule.schedule import window_before

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]
HOUR_MS = 3_600_000
# From 1990 to 2060, in seconds.
MOMENTS = st.integers(631_152_000, 2_840_140_800)


@given(zone=st.sampled_from(ZONES), moment=MOMENTS)
def test_consecutive_windows_have_no_gap_or_overlap(zone: str, moment: int) -> None:
    fire = datetime.fromtimestamp(moment, UTC)
    window = window_before(fire, ZoneInfo(zone))
    next_noon = datetime.combine(window.day + timedelta(days=2), datetime.min.time(), ZoneInfo(zone)).replace(hour=12)
    following = window_before(next_noon.astimezone(UTC), ZoneInfo(zone))
    assert following.day == window.day + timedelta(days=1)
    assert following.start_ms == window.end_ms
    assert window.start_ms < window.end_ms <= to_ms(fire)


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)])
def test_window_length_follows_daylight_saving(day: date, hours: int) -> None:
    morning_after = datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC).replace(hour=8)
    window = window_before(morning_after, ZoneInfo("Europe/Berlin"))
    assert (window.day, (window.end_ms - window.start_ms) / HOUR_MS) == (day, hours)
