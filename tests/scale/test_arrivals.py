"""A day brings exactly its jobs, in its shape, and as unevenly as its seed says."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale.arrivals import DAY, HOURS, PEAK, day, fan_out
from tests.sweep import examples


@settings(max_examples=examples(50))
@given(st.integers(1, 200_000), st.sampled_from([60, 300, 3600]), st.integers(0, 9))
def test_a_day_has_exactly_its_jobs_in_the_order_of_time(jobs: int, every: int, seed: int) -> None:
    lumps = day(jobs, every=every, seed=seed)
    assert sum(lump.messages for lump in lumps) == jobs
    assert all(lump.messages > 0 and 0 <= lump.at < DAY for lump in lumps)
    assert all(second.at - first.at >= every for first, second in pairwise(lumps))


def test_each_hour_brings_its_part() -> None:
    lumps = day(1_000_000, every=5, seed=1)
    for hour, weight in enumerate(HOURS):
        brought = sum(lump.messages for lump in lumps if lump.at // 3600 == hour)
        assert brought == pytest.approx(1_000_000 * weight / sum(HOURS), rel=0.15)


def test_the_peak_is_that_of_its_hour() -> None:
    assert pytest.approx(2.4) == PEAK


def test_another_seed_is_another_day() -> None:
    assert day(10_000, every=60, seed=1) == day(10_000, every=60, seed=1)
    assert day(10_000, every=60, seed=1) != day(10_000, every=60, seed=2)


def test_a_digest_is_sent_as_it_is_listed() -> None:
    lumps = list(fan_out(2500, a_second=1000, recipients=100))
    assert [(lump.at, lump.messages) for lump in lumps] == [(1.0, 10), (2.0, 10), (2.5, 5)]
