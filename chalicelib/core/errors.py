"""The exceptions of Nightshift: few, and each says whether trying again can help."""

from chalicelib.core.outcome import Counts, Outcome


class NightshiftError(Exception):
    """Any failure that Nightshift names itself; `outcome` is that of an attempt which may still be tried again."""

    outcome: Outcome = Outcome.FAILED
    counts: Counts = Counts()


class ConfigurationError(NightshiftError):
    """A setting is missing or wrong; a person must mend it."""

    outcome = Outcome.DEAD


class InvalidRequestError(NightshiftError):
    """An event or a message asks for something that cannot be done, today or later."""

    outcome = Outcome.DEAD


class PermanentError(NightshiftError):
    """The work was understood and cannot succeed, however often it is tried."""

    outcome = Outcome.DEAD


class MissingError(PermanentError):
    """What should be read does not exist, or no longer."""


class DamagedError(PermanentError):
    """What is read back is not what was stored."""


class TransientError(NightshiftError):
    """Something outside refused for now; the same work may succeed later."""


class ThrottledError(TransientError):
    """A provider asked for a slower pace and certainly did not do the work."""


class TimedOutError(TransientError):
    """The work took longer than it may, and was interrupted."""


class TooManyFailedError(NightshiftError):
    """More items failed than the task's policy allows."""

    def __init__(self, counts: Counts, *, allowed_share: float) -> None:
        super().__init__(
            f"{counts.failed} of {counts.total} items failed, and the task allows {100 * allowed_share:g}%"
        )
        self.counts = counts


class NotOursError(NightshiftError):
    """The run or job needs nothing of this attempt: it is finished, put off, or held by another attempt."""

    outcome = Outcome.SKIPPED


class PausedError(NotOursError):
    """The task is paused, and no run of it begins by itself."""


class HeldBackError(NotOursError):
    """A pause has held the fire back, and the watch has decided what becomes of it."""


class OverlapError(NotOursError):
    """Another run of the task is not over."""


class AbsentError(NotOursError):
    """A fire that was due did not come."""


class OutOfTimeError(NightshiftError):
    """The deadline is near; what was done is saved and the rest must be handed on."""


class RunFailedError(NightshiftError):
    """Raised to Lambda at the end of a failed run, so that its retries and alarms see it."""

    def __init__(self, message: str, *, outcome: Outcome) -> None:
        super().__init__(message)
        # Of the run: a job that continues a dead run is dead itself.
        self.outcome = outcome


class BatchFailedError(NightshiftError):
    """Raised to Lambda when messages remain to be done, so that the queue keeps them."""
