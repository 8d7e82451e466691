"""When the functions of app.py are next due: their schedules, as EventBridge's rules would fire them."""

import heapq
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from chalicelib.schedule.schedule import Schedule
from nightshift.deploy import triggers
from nightshift.local.invocation import scheduled_event

# Lambda tries an event again so often, so much later each time.
RETRY_MINUTES = (1, 2)


@dataclass(frozen=True, kw_only=True)
class Due:
    """A function is due to be called with an event at a moment, for the `attempt`-th time, from 0."""

    function: str
    at: datetime
    event: Mapping[str, Any]
    attempt: int = 0
    # Of what its rule has fired: its next fire is put down when it is taken.
    is_first_of_rule: bool = False
    # The same each time, as Lambda has it.
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, kw_only=True, order=True)
class _Entry:
    at: datetime
    # Of what is due at once, what was put down first comes first.
    number: int
    due: Due = field(compare=False)


def schedules_of(project: Path, planned: Mapping[str, Schedule]) -> dict[str, Schedule]:
    """Return the schedule of each function that EventBridge calls: of tasks as planned, of the others their rates."""
    rates = {each.function: each.text for each in triggers.read(project) if each.kind == "rate"}
    intervals = {name: text.removeprefix("rate(").removesuffix(")") for name, text in rates.items()}
    return {**planned, **{name: Schedule(f"every {interval}") for name, interval in intervals.items()}}


class Timetable:
    """What is due from a moment on, in order; each rule's next fire is put down when its last is taken."""

    def __init__(self, schedules: Mapping[str, Schedule], *, start: datetime) -> None:
        self._schedules = schedules
        self._numbers = count()
        self._entries: list[_Entry] = []
        for function, schedule in schedules.items():
            # What is due at the very start belongs to it, while an interval only begins to count.
            self._put_next(function, after=start if schedule.every else start - datetime.resolution)

    @property
    def next_at(self) -> datetime | None:
        """The moment at which the next is due."""
        return self._entries[0].at if self._entries else None

    def take(self, *, until: datetime) -> Iterator[Due]:
        """Yield and take off what is due up to a moment."""
        while self._entries and self._entries[0].at <= until:
            due = heapq.heappop(self._entries).due
            if due.is_first_of_rule:
                self._put_next(due.function, after=due.at)
            yield due

    def put(self, due: Due) -> None:
        """Put down what is due, beside what the schedules say."""
        heapq.heappush(self._entries, _Entry(at=due.at, number=next(self._numbers), due=due))

    def put_again(self, due: Due, *, now: datetime) -> bool:
        """Put down what has failed, to be tried again as Lambda does; return whether it will be."""
        if due.attempt == len(RETRY_MINUTES):
            return False
        at = now + timedelta(minutes=RETRY_MINUTES[due.attempt])
        self.put(replace(due, at=at, attempt=due.attempt + 1, is_first_of_rule=False))
        return True

    def _put_next(self, function: str, *, after: datetime) -> None:
        schedule = self._schedules[function]
        following: Iterable[datetime] = schedule.after(after) if schedule.every is None else [after + schedule.every]
        for at in following:
            self.put(Due(function=function, at=at, event=scheduled_event(at), is_first_of_rule=True))
            return
