"""Moments, ages, durations and sizes as people read them."""

from datetime import datetime, timedelta, timezone

import pytest

from chalicelib.operate.status.words import at, between, size, some, took
from tests.operate.status.conftest import NOW

EAST = timezone(timedelta(hours=14))


def test_a_moment_is_told_in_utc_and_with_its_year_where_that_is_not_this_one() -> None:
    assert at(NOW, now=NOW) == "2 Mar 12:00"
    assert at(datetime(2027, 1, 1, 13, 59, tzinfo=EAST), now=NOW) == "31 Dec 23:59"
    assert at(datetime(2027, 1, 1, 14, 0, tzinfo=EAST), now=NOW) == "1 Jan 2027 00:00"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (2 * 86_400 - 1, "47 h"),
        (2 * 86_400, "2 d"),
        (400 * 86_400, "400 d"),
    ],
)
def test_the_time_between_two_moments_is_told_in_one_unit_whichever_is_first(seconds: float, told: str) -> None:
    other = NOW + timedelta(seconds=seconds)
    assert between(NOW, other) == between(other, NOW) == told


@pytest.mark.parametrize(
    ("milliseconds", "told"),
    [
        (0, "0.0 s"),
        (149, "0.1 s"),
        (9_949, "9.9 s"),
        (9_950, "10 s"),
        (59_499, "59 s"),
        (59_500, "1 min 0 s"),
        (185_000, "3 min 5 s"),
        (3_599_600, "1 h 0 min"),
        (3_600_000 * 1234, "1,234 h 0 min"),
    ],
)
def test_a_duration_has_two_units_at_most(milliseconds: int, told: str) -> None:
    assert took(milliseconds) == told


@pytest.mark.parametrize(
    ("octets", "told"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (1_240_000_000, "1.2 GB"), (10**15, "1,000.0 TB")],
)
def test_a_size_is_told_in_its_largest_unit(octets: int, told: str) -> None:
    assert size(octets) == told


def test_one_is_no_plural() -> None:
    assert [some(number, "job") for number in (0, 1, 1200)] == ["0 jobs", "1 job", "1,200 jobs"]
