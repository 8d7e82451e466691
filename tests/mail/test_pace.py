"""The pace of sending without Redis, and when Redis fails; tests of a real Redis are elsewhere."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Thread

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from chalicelib.mail.pace import Pace, pace
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import Kit

MORNING = datetime(2016, 8, 4, 8, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(MORNING)


def client(port: int) -> Redis:
    return Redis(port=port, socket_timeout=0.2, socket_connect_timeout=0.2, retry=Retry(NoBackoff(), 0))


@contextmanager
def server(answer: bytes | None) -> Iterator[tuple[int, list[bytes]]]:
    """Answer each connection's first request with these bytes, or with None never; give the port and the requests."""
    requests: list[bytes] = []

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                request = connection.recv(65536)
                if not request:
                    return
                requests.append(request)
                if answer is None:
                    # Returns when the client gives up and hangs up.
                    connection.recv(65536)
                else:
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1], requests
        finally:
            # A connection without a request ends it.
            socket.create_connection(listener.getsockname()).close()
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize(("rate", "workers", "seconds"), [(10, 5, 0.5), (1, 1, 1.0), (14, 7, 0.5), (0.5, 1, 2.0)])
def test_first_mail_goes_at_once_and_others_at_workers_share(
    clock: FrozenClock, rate: float, workers: int, seconds: float
) -> None:
    pace = Pace(rate=rate, workers=workers, redis=None, clock=clock)
    for _ in range(4):
        pace.wait(at_most_seconds=3600)
    assert clock.slept == [seconds] * 3


@pytest.mark.parametrize(("rate", "workers"), [(7, 1), (3, 2), (1000, 1), (999, 5), (0.3, 1)])
def test_fractional_share_is_kept_over_many_mails(clock: FrozenClock, rate: float, workers: int) -> None:
    pace = Pace(rate=rate, workers=workers, redis=None, clock=clock)
    started_ms = clock.now_ms()
    for _ in range(211):
        pace.wait(at_most_seconds=3600)
    assert clock.now_ms() - started_ms == pytest.approx(210 * 1000 * workers / rate, abs=1)


def test_sending_time_shortens_the_wait(clock: FrozenClock) -> None:
    pace = Pace(rate=1, workers=1, redis=None, clock=clock)
    pace.wait(at_most_seconds=3600)
    clock.advance(0.75)
    pace.wait(at_most_seconds=3600)
    assert clock.slept == [0.25]


def test_idle_time_allows_no_burst(clock: FrozenClock) -> None:
    pace = Pace(rate=1, workers=1, redis=None, clock=clock)
    pace.wait(at_most_seconds=3600)
    clock.advance(60)
    for _ in range(3):
        pace.wait(at_most_seconds=3600)
    assert clock.slept == [1.0, 1.0]


def test_several_mails_reserve_time_for_each(clock: FrozenClock) -> None:
    pace = Pace(rate=10, workers=5, redis=None, clock=clock)
    for _ in range(3):
        assert pace.wait(at_most_seconds=3600, mails=4)
    assert clock.slept == [2.0, 2.0]


@pytest.mark.parametrize(
    ("rate", "workers", "burst"), [(14, 1, 14), (14, 5, 2), (1, 5, 1), (0.5, 1, 1), (1000, 5, 200)]
)
def test_burst_is_workers_share_of_a_second(clock: FrozenClock, rate: float, workers: int, burst: int) -> None:
    assert Pace(rate=rate, workers=workers, redis=None, clock=clock).burst == burst


def test_all_workers_together_keep_to_the_rate() -> None:
    clocks = [FrozenClock(MORNING) for _ in range(5)]
    shares = [Pace(rate=10, workers=5, redis=None, clock=clock) for clock in clocks]
    for share in shares:
        for _ in range(21):
            share.wait(at_most_seconds=3600)
    # 105 mails, of which the first five go at once.
    assert [sum(clock.slept) for clock in clocks] == [10.0] * 5


def test_unreachable_redis_leaves_each_worker_its_share(clock: FrozenClock) -> None:
    # Bound and not listening: no other process can take the port, and it refuses connections.
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with client(closed.getsockname()[1]) as redis:
            pace = Pace(rate=10, workers=5, redis=redis, clock=clock)
            for _ in range(3):
                pace.wait(at_most_seconds=3600)
    assert clock.slept == [0.5, 0.5]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"",
        b"-ERR unknown command\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x0a",
    ],
    ids=["silent", "closing", "unknown", "full", "replica", "http", "tls"],
)
def test_failing_redis_is_given_up_at_first_mail(clock: FrozenClock, answer: bytes | None) -> None:
    with server(answer) as (port, requests), client(port) as redis:
        pace = Pace(rate=10, workers=5, redis=redis, clock=clock)
        for _ in range(3):
            pace.wait(at_most_seconds=3600)
    assert clock.slept == [0.5, 0.5]
    assert len(requests) == 1


def test_too_long_wait_reserves_nothing(clock: FrozenClock) -> None:
    pace = Pace(rate=1, workers=10, redis=None, clock=clock)
    assert pace.wait(at_most_seconds=0)
    assert [pace.wait(at_most_seconds=2) for _ in range(3)] == [False] * 3
    assert pace.wait(at_most_seconds=60)
    assert clock.slept == [10.0]


def test_pace_without_redis_holds_across_invocations(sqlite_url: str) -> None:
    kit = Kit(sqlite_url, MAIL_RATE="10", MAIL_WORKERS="5")
    for _ in range(3):
        assert pace(kit.context()).wait(at_most_seconds=3600)
    assert kit.clock.slept == [0.5, 0.5]
