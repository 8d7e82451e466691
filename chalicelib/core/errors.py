"""The exceptions of Nightshift; each says whether a retry can help."""

from chalicelib.core.outcome import Counts, Outcome


class NightshiftError(Exception):
    """Base class; `outcome` is that of an attempt which may still be retried, `counts` are the items that it did."""

    outcome: Outcome = Outcome.FAILED
    counts: Counts = Counts()


class ConfigurationError(NightshiftError):
    """A setting is missing or wrong; a person must correct it."""

    outcome = Outcome.DEAD


class InvalidRequestError(NightshiftError):
    """An event or a message asks for something that cannot be done, today or later."""

    outcome = Outcome.DEAD


class PermanentError(NightshiftError):
    """The work was understood and cannot succeed, however often it is tried."""

    outcome = Outcome.DEAD


class DamagedError(PermanentError):
    """Stored data cannot be read back as it was."""


class TransientError(NightshiftError):
    """A service is unavailable or refuses for now; the same work may succeed later."""


class Snooze(NightshiftError):
    """The job is to be tried again in `seconds`, and this attempt does not count."""

    outcome = Outcome.SNOOZED

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class UnavailableError(TransientError):
    """What performs the job is away; `is_reached` says whether it may have begun the job before it failed."""

    def __init__(self, message: str, *, is_reached: bool) -> None:
        super().__init__(message)
        self.is_reached = is_reached


class OutOfTimeError(NightshiftError):
    """The deadline is near; progress is saved, and the rest must be continued."""


class RunFailedError(NightshiftError):
    """A run failed: too many of its items did, or Lambda must see the failure for its retries and alarms."""

    def __init__(self, message: str, *, outcome: Outcome = Outcome.FAILED, counts: Counts | None = None) -> None:
        super().__init__(message)
        # A job that continues a dead run is dead itself.
        self.outcome = outcome
        self.counts = counts or Counts()


class Skipped(NightshiftError):
    """The work is not needed, or not now."""

    outcome = Outcome.SKIPPED


class AlreadyClaimed(Skipped):
    """Another attempt holds the run or job, or has finished it."""
