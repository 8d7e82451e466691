"""The pace of sending: the account's rate, shared by every worker through Redis, or split evenly without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chalicelib.clock import Clock

if TYPE_CHECKING:
    from redis import Redis

KEY = "nightshift:mail:next"

# Takes the next free moment (microseconds, by Redis's own clock) and returns how long it is until then.
RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local free = math.max(now, tonumber(redis.call('GET', KEYS[1])) or 0)
redis.call('SET', KEYS[1], string.format('%.0f', free + ARGV[1]), 'PX', math.ceil((free + ARGV[1] - now) / 1000) + 1000)
return free - now
"""


class Pace:
    """Lets `rate` mails a second pass, over all `workers`."""

    def __init__(self, *, rate: float, workers: int, redis: Redis | None, clock: Clock) -> None:
        self._interval_us = round(1_000_000 / rate)
        self._own_interval_ms = 1000 * workers / rate
        self._redis = redis
        self._clock = clock
        self._next_ms = 0.0

    def wait(self, *, at_most_seconds: float) -> bool:
        """Wait until the next mail may be sent, and return whether it may; a longer wait than this is not begun."""
        seconds = self._reserve_shared()
        if seconds is None:
            seconds = self._reserve_own()
        if seconds > at_most_seconds:
            return False
        if seconds > 0:
            self._clock.sleep(seconds)
        return True

    def _reserve_shared(self) -> float | None:
        if self._redis is None:
            return None
        # Only here, where a client exists, so that a worker without Redis does not pay for the import.
        from redis.exceptions import RedisError

        try:
            return int(self._redis.eval(RESERVE, 1, KEY, str(self._interval_us))) / 1_000_000
        except RedisError:
            # The pace is a courtesy, not a condition: without Redis each worker keeps to its own share.
            self._redis = None
            return None

    def _reserve_own(self) -> float:
        now_ms = self._clock.now_ms()
        free_ms = max(float(now_ms), self._next_ms)
        self._next_ms = free_ms + self._own_interval_ms
        return (free_ms - now_ms) / 1000
