"""The clock of the local runtime: it goes as the machine's does, and is put forward when nothing happens."""

from chalicelib.core.clock import SystemClock


class LocalClock(SystemClock):
    """The machine's clock, so many milliseconds ahead of it."""

    def __init__(self, *, ahead_ms: int) -> None:
        self.ahead_ms = ahead_ms

    def now_ms(self) -> int:
        """Return the time as epoch milliseconds."""
        return super().now_ms() + self.ahead_ms

    def set(self, milliseconds: int) -> None:
        """Let it be this time now, in epoch milliseconds."""
        self.ahead_ms = milliseconds - super().now_ms()

    def put_forward(self, milliseconds: float) -> None:
        """Let this much time have passed."""
        self.ahead_ms += round(milliseconds)
