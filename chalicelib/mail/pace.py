"""The pace of sending: the account's rate, shared by all workers through Redis, or split evenly without it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from chalicelib.core.clock import Clock
from chalicelib.core.context import Context, service
from chalicelib.mail.ses import mail_account
from chalicelib.mail.settings import MailSettings

if TYPE_CHECKING:
    from redis import Redis

KEY = "nightshift:mail:next"
# Reserves, from the next free moment (microseconds by Redis's clock), the time that these mails take, and returns how
# long it is until that moment. Reserves nothing if that is too long.
RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local free = math.max(now, tonumber(redis.call('GET', KEYS[1])) or 0)
if free - now > tonumber(ARGV[2]) then return free - now end
redis.call('SET', KEYS[1], string.format('%.0f', free + ARGV[1]), 'PX', math.ceil((free + ARGV[1] - now) / 1000) + 1000)
return free - now
"""


@dataclass
class NextSlot:
    """When a process without Redis may send next, kept between invocations."""

    ms: float = 0.0


class Pace:
    """Limits sending to `rate` mails a second: shared by all workers through Redis, else split among `workers`."""

    def __init__(
        self, *, rate: float, workers: int, redis: Redis | None, clock: Clock, slot: NextSlot | None = None
    ) -> None:
        self._rate = rate
        self._workers = workers
        self._redis = redis
        self._clock = clock
        self._slot = slot or NextSlot()

    @property
    def burst(self) -> int:
        """How many mails may be sent at once: those of one second, and at least one."""
        return max(1, int(self._rate if self._redis else self._rate / self._workers))

    def wait(self, *, at_most_seconds: float, mails: int = 1) -> bool:
        """Wait until the next mails may be sent; return False at once if that takes more than `at_most_seconds`."""
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
        # Imported here, where a client exists, because a worker without Redis does not need it.
        from redis.exceptions import RedisError

        arguments = (round(1_000_000 * mails / self._rate), int(1_000_000 * at_most_seconds))
        try:
            return int(self._redis.eval(RESERVE, 1, KEY, *map(str, arguments))) / 1_000_000
        except RedisError:
            # Without Redis each worker keeps to its own share.
            self._redis = None
            return None

    def _reserve_own(self, mails: int, at_most_seconds: float) -> float:
        now_ms = self._clock.now_ms()
        free_ms = max(float(now_ms), self._slot.ms)
        seconds = (free_ms - now_ms) / 1000
        if seconds <= at_most_seconds:
            self._slot.ms = free_ms + 1000 * mails * self._workers / self._rate
        return seconds


@service
def pace(context: Context) -> Pace:
    """Return the pace of sending: MAIL_RATE if it is set, else the account's own rate."""
    settings = context.settings(MailSettings)
    rate = settings.mail_rate or mail_account(context).rate
    slot = _next_slot(context.clock)
    return Pace(rate=rate, workers=settings.mail_workers, redis=context.cache, clock=context.clock, slot=slot)


@cache
def _next_slot(_clock: Clock) -> NextSlot:
    return NextSlot()
