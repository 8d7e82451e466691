"""The pace of sending: the account's rate, shared by every worker through Redis, or split evenly without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.core.clock import Clock

if TYPE_CHECKING:
    from redis import Redis

KEY = "nightshift:mail:next"

# Takes the next free moment (microseconds, by Redis's own clock), keeps the time that the mails of this turn take from
# then on, and returns how long it is until then; of a turn that would come too late, nothing is kept.
RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local free = math.max(now, tonumber(redis.call('GET', KEYS[1])) or 0)
if free - now > tonumber(ARGV[2]) then return free - now end
redis.call('SET', KEYS[1], string.format('%.0f', free + ARGV[1]), 'PX', math.ceil((free + ARGV[1] - now) / 1000) + 1000)
return free - now
"""


@dataclass
class Turn:
    """When a process that has no Redis may send next, kept from one invocation to the next."""

    next_ms: float = 0.0


class Pace:
    """Lets `rate` mails a second pass, over all `workers`."""

    def __init__(
        self, *, rate: float, workers: int, redis: Redis | None, clock: Clock, turn: Turn | None = None
    ) -> None:
        self._rate = rate
        self._workers = workers
        self._redis = redis
        self._clock = clock
        self._turn = turn or Turn()

    @property
    def burst(self) -> int:
        """How many mails may go at once: those of one second, and at least one."""
        return max(1, int(self._rate if self._redis else self._rate / self._workers))

    def wait(self, *, at_most_seconds: float, mails: int = 1) -> bool:
        """Wait until the next mails may be sent, and return whether they may; a longer wait than this is not begun."""
        seconds = self._reserve_shared(mails, at_most_seconds)
        if seconds is None:
            seconds = self._reserve_own(mails, at_most_seconds)
        if seconds > at_most_seconds:
            return False
        if seconds > 0:
            self._clock.sleep(seconds)
        return True

    def _reserve_shared(self, mails: int, at_most_seconds: float) -> float | None:
        if self._redis is None:
            return None
        # Only here, where a client exists, so that a worker without Redis does not pay for the import.
        from redis.exceptions import RedisError

        arguments = (round(1_000_000 * mails / self._rate), int(1_000_000 * at_most_seconds))
        try:
            return int(self._redis.eval(RESERVE, 1, KEY, *map(str, arguments))) / 1_000_000
        except RedisError:
            # The pace is a courtesy, not a condition: without Redis each worker keeps to its own share.
            self._redis = None
            return None

    def _reserve_own(self, mails: int, at_most_seconds: float) -> float:
        now_ms = self._clock.now_ms()
        free_ms = max(float(now_ms), self._turn.next_ms)
        seconds = (free_ms - now_ms) / 1000
        if seconds <= at_most_seconds:
            self._turn.next_ms = free_ms + 1000 * mails * self._workers / self._rate
        return seconds
