"""The pace that workers share through a real Redis."""

import pytest
import redis

from chalicelib.mail.pace import KEY, Pace
from nightshift.testkit.clock import FrozenClock
from tests.world import MORNING


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    return client


def test_workers_share_one_pace(client: redis.Redis) -> None:
    clocks = [FrozenClock(MORNING) for _ in range(3)]
    for clock in clocks * 4:
        Pace(rate=2, workers=100, redis=client, clock=clock).wait(at_most_seconds=3600)
    # Twelve mails at two a second: each waits half a second longer than the one before, in whichever worker.
    waits = sorted(second for clock in clocks for second in clock.slept)
    assert waits == pytest.approx([n / 2 for n in range(1, 12)], abs=0.4)


def test_several_mails_reserve_time_for_each(client: redis.Redis) -> None:
    clock = FrozenClock(MORNING)
    for mails in (5, 1):
        Pace(rate=2, workers=100, redis=client, clock=clock).wait(at_most_seconds=3600, mails=mails)
    assert clock.slept == pytest.approx([2.5], abs=0.4)


def test_too_long_wait_reserves_nothing_in_redis(client: redis.Redis) -> None:
    clock = FrozenClock(MORNING)
    pace = Pace(rate=0.1, workers=100, redis=client, clock=clock)
    assert pace.wait(at_most_seconds=0)
    assert [pace.wait(at_most_seconds=2) for _ in range(3)] == [False] * 3
    assert pace.wait(at_most_seconds=60)
    assert clock.slept == pytest.approx([10], abs=0.4)


def test_burst_with_redis_is_rate_of_a_second(client: redis.Redis) -> None:
    assert Pace(rate=14, workers=5, redis=client, clock=FrozenClock(MORNING)).burst == 14


def test_reservation_expires(client: redis.Redis) -> None:
    Pace(rate=2, workers=1, redis=client, clock=FrozenClock(MORNING)).wait(at_most_seconds=3600)
    assert 0 < int(client.pttl(KEY)) <= 60_000


def test_failing_real_redis_leaves_each_worker_its_share(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.set(KEY, "not a number")
    client.config_set("maxmemory", 1)
    clock = FrozenClock(MORNING)
    try:
        pace = Pace(rate=10, workers=5, redis=client, clock=clock)
        for _ in range(3):
            pace.wait(at_most_seconds=3600)
    finally:
        client.config_set("maxmemory", 0)
    assert clock.slept == [0.5, 0.5]
