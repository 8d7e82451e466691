"""How an attempt at a run or a job ended, and what it did."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How an attempt ends: done, not needed, to be retried, given up, or put off without being counted."""

    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"
    DEAD = "dead"
    SNOOZED = "snoozed"

    @property
    def is_failure(self) -> bool:
        """Whether the work remains undone."""
        return self in {Outcome.FAILED, Outcome.DEAD}


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Items of work: how many there were, and their results."""

    total: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        # Not dataclasses.asdict, which copies deeply and takes twenty times as long: each log line has the counts.
        return dict(vars(self))
