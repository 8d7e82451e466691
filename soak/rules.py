"""EventBridge as a soak has it: some fires never come, some come twice, and some of those hours later."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from uuid import uuid4

from chalicelib.schedule.schedule import Schedule
from nightshift.dev.scheduler import DueCall, Scheduler

LOST, TWICE = 0.02, 0.05
LATEST_COPY = timedelta(hours=3)


class Rules(Scheduler):
    """A scheduler that loses and doubles fires until it is calm, but those of `steady`, and counts what it did."""

    def __init__(
        self, schedules: Mapping[str, Schedule], *, start: datetime, seed: int, steady: Collection[str]
    ) -> None:
        super().__init__(schedules, start=start)
        self._steady = steady
        self._dropped: frozenset[str] = frozenset()
        self._rng = Random(f"rules {seed}")  # noqa: S311 (no secret)
        self.is_calm = False
        self.fired = self.lost = self.doubled = 0

    def take(self, *, until: datetime) -> Iterator[DueCall]:
        """Yield and take off what comes up to a moment."""
        for due in super().take(until=until):
            if due.function in self._dropped:
                continue
            if due.is_scheduled and not self.is_calm and due.function not in self._steady:
                self.fired += 1
                chance = self._rng.random()
                if chance < LOST:
                    self.lost += 1
                    continue
                if chance < LOST + TWICE:
                    self.doubled += 1
                    # Half of the copies come at once.
                    later = LATEST_COPY * max(0.0, self._rng.uniform(-1, 1))
                    self.add(replace(due, at=due.at + later, is_scheduled=False, request_id=str(uuid4())))
            yield due

    def drop(self, functions: Collection[str]) -> None:
        """Yield nothing more of these."""
        self._dropped = frozenset(functions)
