"""The one error of the sync's own: what another server refused for now, and for how long."""

from chalicelib.core.errors import TransientError


class TryAgainError(TransientError):
    """A request failed in a way that a repetition within seconds may mend; `wait_seconds` is what the server asks."""

    def __init__(self, message: str, *, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds
