"""A rate that all workers share: SES's, or the database's."""


class Limiter:
    """Lets `rate` units a second pass, first come, first served; what was not used is not saved up."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._free_at = 0.0

    def within(self, now: float, until: float) -> float:
        """Return how many units that begin to wait now have passed by then."""
        return max(0.0, until - max(now, self._free_at)) * self._rate

    def take(self, now: float, units: float) -> float:
        """Let units pass that begin to wait now, and return when the last has."""
        if units:
            self._free_at = max(now, self._free_at) + units / self._rate
            return self._free_at
        return now
