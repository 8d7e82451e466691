"""A shared rate lets as much pass as it says, in turn, and nothing is saved up."""

import random

import pytest

from scale.limiter import Limiter
from scale.setting import Setting, connections_of
from tests.scale.worlds import setting


def test_what_comes_together_passes_one_after_the_other() -> None:
    limiter = Limiter(2)
    assert [limiter.take(0, 1), limiter.take(0, 3), limiter.take(1.5, 1)] == [0.5, 2.0, 2.5]


def test_what_was_not_used_is_not_saved_up() -> None:
    limiter = Limiter(2)
    limiter.take(0, 1)
    assert limiter.take(100, 4) == 102


def test_it_tells_what_passes_within_a_time() -> None:
    limiter = Limiter(2)
    limiter.take(0, 6)
    assert limiter.within(0, 5) == 4
    assert limiter.within(0, 2) == 0
    assert limiter.take(0, limiter.within(0, 5)) == 5


def test_nothing_takes_no_turn() -> None:
    limiter = Limiter(2)
    limiter.take(0, 6)
    assert limiter.take(1, 0) == 1


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_the_mean_wait_is_that_of_a_queue_with_one_server_and_equal_jobs(load: float) -> None:
    # Pollaczek and Khinchine: for arrivals by chance and jobs of one second, load / 2 (1 - load) seconds.
    chance, limiter = random.Random(7), Limiter(1)
    at = waited = 0.0
    jobs = 200_000
    for _ in range(jobs):
        at += chance.expovariate(load)
        waited += limiter.take(at, 1) - 1 - at
    assert waited / jobs == pytest.approx(load / (2 * (1 - load)), rel=0.05)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"maximum_concurrency": 1}, "2 to 1000"),
        ({"maximum_concurrency": 1001}, "2 to 1000"),
        ({"reserved_concurrency": 0}, "at least 1"),
        ({"connections": 0}, "at least 1"),
        ({"mails_a_second": 0}, "greater than zero"),
        ({"commits_a_second": -1}, "greater than zero"),
    ],
)
def test_a_setting_that_can_do_nothing_is_refused(wrong: dict[str, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        setting(**wrong)


def test_the_smallest_of_all_limits_is_the_door() -> None:
    limits: Setting = setting(reserved_concurrency=7, connections=9)
    assert limits.door == 7


def test_connections_are_those_that_rds_gives_by_memory() -> None:
    assert [connections_of(1), connections_of(2), connections_of(8)] == [85, 170, 682]
