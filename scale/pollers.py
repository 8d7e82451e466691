"""Lambda's pollers of a queue: five at first, up to 300 more a minute while messages wait, and fewer when none does."""

from heapq import heappop, heappush
from math import inf

from scale.invocation import Invocation
from scale.setting import FIRST_POLLERS, POLLERS_A_SECOND


class Pollers:
    """At most `most` of them. One that is not idle waits for its invocation, or, without one, for a moment to pass."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._first = self.idle = min(FIRST_POLLERS, most)
        self._waiting: list[tuple[float, int, Invocation | None]] = []
        self._number = 0
        self._short_since: float | None = None

    @property
    def next_at(self) -> float:
        """When the next one has something to do: itself, or as one more."""
        return min(self._grows_at(), self._waiting[0][0] if self._waiting else inf)

    def wait(self, until: float, invocation: Invocation | None) -> None:
        """Let one that is not idle wait."""
        self._number += 1
        heappush(self._waiting, (until, self._number, invocation))

    def wake(self, now: float) -> Invocation | None:
        """Return the invocation whose next part is due; otherwise one more poller may be idle."""
        if self._grows_at() <= now:
            self.idle += 1
        elif self._waiting and self._waiting[0][0] <= now:
            invocation = heappop(self._waiting)[2]
            if invocation is not None:
                return invocation
            self.idle += 1
        return None

    def scale(self, now: float, *, is_short: bool) -> None:
        """Begin to grow where messages wait, and otherwise let those go that are idle, but for the first."""
        if not is_short:
            self._short_since = None
            self.idle -= min(self.idle, self._count() - self._first)
        elif self._short_since is None:
            self._short_since = now - (self._count() - self._first) / POLLERS_A_SECOND

    def _grows_at(self) -> float:
        if self._short_since is None or self._count() >= self._most:
            return inf
        return self._short_since + (self._count() - self._first + 1) / POLLERS_A_SECOND

    def _count(self) -> int:
        return self.idle + len(self._waiting)
