"""When each function of app.py is called next: by its schedule, and again after a failure."""

import heapq
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from chalicelib.schedule.schedule import Schedule
from nightshift.local.invocation import scheduled_event
from nightshift.project import triggers
from nightshift.project.template import RATE

# As Lambda retries an asynchronous event.
RETRY_MINUTES = (1, 2)


@dataclass(frozen=True, kw_only=True)
class DueCall:
    """A call of a function that is due at a time; `attempt` counts from 0."""

    function: str
    at: datetime
    event: Mapping[str, Any]
    attempt: int = 0
    # The first attempt at a fire of a schedule.
    is_scheduled: bool = False
    # Retries keep it, as on Lambda.
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))


def schedules_of(project: Path, tasks: Mapping[str, Schedule]) -> dict[str, Schedule]:
    """Return the schedule of each function that EventBridge calls: the tasks', and the rates of the others."""
    known = triggers.read(project)
    rates = {each.function: RATE.fullmatch(each.text) for each in known if each.kind == "expression"}
    return {**tasks, **{name: Schedule(f"every {rate[1]} {rate[2]}") for name, rate in rates.items() if rate}}


class Scheduler:
    """The calls from a start time on, in order."""

    def __init__(self, schedules: Mapping[str, Schedule], *, start: datetime) -> None:
        self._schedules = schedules
        # Calls that are due at the same time keep the order in which they were added.
        self._numbers = count()
        self._calls: list[tuple[datetime, int, DueCall]] = []
        for function, schedule in schedules.items():
            # A cron schedule includes the start itself; an interval begins there.
            self._add_next(function, after=start if schedule.every else start - datetime.resolution)

    @property
    def next_at(self) -> datetime | None:
        """The time of the next call."""
        return self._calls[0][0] if self._calls else None

    def take(self, *, until: datetime) -> Iterator[DueCall]:
        """Remove and yield the calls up to a time. Each fire adds the next one of its schedule."""
        while self._calls and self._calls[0][0] <= until:
            call = heapq.heappop(self._calls)[2]
            if call.is_scheduled:
                self._add_next(call.function, after=call.at)
            yield call

    def add(self, call: DueCall) -> None:
        """Add a call to those of the schedules."""
        heapq.heappush(self._calls, (call.at, next(self._numbers), call))

    def retry(self, call: DueCall, *, now: datetime) -> bool:
        """Add the next attempt at a failed call, as Lambda does. Return False if there is none."""
        if call.attempt == len(RETRY_MINUTES):
            return False
        at = now + timedelta(minutes=RETRY_MINUTES[call.attempt])
        self.add(replace(call, at=at, attempt=call.attempt + 1, is_scheduled=False))
        return True

    def _add_next(self, function: str, *, after: datetime) -> None:
        schedule = self._schedules[function]
        following: Iterable[datetime] = schedule.after(after) if schedule.every is None else [after + schedule.every]
        for at in following:
            self.add(DueCall(function=function, at=at, event=scheduled_event(at), is_scheduled=True))
            return
