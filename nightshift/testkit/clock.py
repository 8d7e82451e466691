"""A clock that stands still until a test moves it."""

from datetime import datetime

from chalicelib.core.clock import to_ms


class FrozenClock:
    """Tells the same time until it is advanced or slept on."""

    def __init__(self, moment: datetime) -> None:
        self._now_ms = to_ms(moment)
        self.slept: list[float] = []

    def now_ms(self) -> int:
        """Return the time as epoch milliseconds."""
        return self._now_ms

    def sleep(self, seconds: float) -> None:
        """Let the time pass at once, and note it."""
        self.slept.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move the time forward."""
        self._now_ms += round(seconds * 1000)
