"""A task of the tests' own on a schedule: its fires come or do not, and what became of each is in its runs."""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import delete, insert, select

from app import PARTS
from chalicelib.core.clock import from_ms, to_ms
from chalicelib.core.context import Context
from chalicelib.core.errors import OutOfTimeError
from chalicelib.core.outcome import Counts
from chalicelib.operate import watch
from chalicelib.runs import catch_up, execution
from chalicelib.runs.claims import Run
from chalicelib.runs.fire import is_due
from chalicelib.runs.task import Task
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import pauses
from chalicelib.schema import runs as runs_table
from nightshift.local.invocation import scheduled_event
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import Killed, Kit

# A Monday.
START = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
NAME = "nightly"
PREFIX = "nightshift-test-"
DONE = Counts(total=1, succeeded=1)


def utc(text: str) -> datetime:
    """Return a moment of March 2026: its day, and the time in UTC."""
    return datetime.strptime(f"2026-03-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def die() -> None:
    """End the process in the middle of a run."""
    raise Killed


def fail() -> None:
    """Let a run fail."""
    raise ValueError("no")


def run_out_of_time() -> None:
    """Let a run come near its deadline."""
    raise OutOfTimeError("the deadline is near")


class Plan:
    """A deployment in this process with one task, whose schedule the watch has seen; `performed` lists its runs."""

    def __init__(self, database_url: str, monkeypatch: pytest.MonkeyPatch, text: str, **policy: Any) -> None:
        self.kit = Kit(database_url, clock=FrozenClock(START))
        self.performed: list[Run] = []
        self.perform: Callable[[Context, Run], Counts] = lambda _context, _run: DONE
        self._monkeypatch = monkeypatch
        # The page that each look of the watch leaves is half of its work, and tested elsewhere.
        monkeypatch.setattr("chalicelib.operate.status.page.store", lambda *_: None)
        usual: dict[str, Any] = {"overlap": "skip", "catch_up": "skip", "grace": 15 * MINUTE, "max_attempts": 3}
        self.task = Task(name=NAME, perform=self._perform, max_failed_share=0.0, options=("colour",), **usual | policy)
        self.deploy(text)
        self.watch()

    def deploy(self, text: str, **policy: Any) -> None:
        """Deploy the task with this schedule; the functions get their code one after the other."""
        for function in (NAME, "dispatch", "watch"):
            self.kit.awslambda.update_function_code(FunctionName=PREFIX + function)
        self.task = replace(self.task, **policy)
        module = ModuleType(NAME)
        setattr(module, NAME, self.task)
        self._monkeypatch.setitem(sys.modules, f"chalicelib.tasks.{NAME}", module)
        self.planned = {NAME: Schedule(text)}

    def _perform(self, context: Context, run: Run) -> Counts:
        self.performed.append(run)
        return self.perform(context, run)

    def at(self, moment: datetime) -> None:
        """Let the time pass until this moment."""
        seconds = (to_ms(moment) - self.kit.clock.now_ms()) / 1000
        assert seconds >= 0, "the time does not run backwards"
        self.kit.clock.advance(seconds)

    def fire(self, moment: datetime, *, at: datetime | None = None, request_id: str | None = None) -> dict[str, Any]:
        """Have the fire of a moment come then, or later."""
        self.at(at or moment)
        event = scheduled_event(moment)
        assert is_due(event, self.planned[NAME])
        return execution.execute(NAME, event=event, context=self.kit.context(request_id=request_id))

    def invoke(self, **payload: Any) -> dict[str, Any]:
        """Have a person invoke the task."""
        return execution.execute(NAME, event=payload, context=self.kit.context())

    def watch(self, at: datetime | None = None) -> dict[str, Any]:
        """Have the watch look, now or at this moment."""
        if at is not None:
            self.at(at)
        return watch.watch(self.kit.context(function_name=f"{PREFIX}watch"), self.planned, PARTS)

    def dispatch(self) -> None:
        """Have dispatch run once."""
        self.kit.dispatch()
        catch_up.record_schedules(self.kit.context(function_name=f"{PREFIX}dispatch"), self.planned)

    def settle(self) -> None:
        """Do the jobs that there are, and those that come of them."""
        self.kit.settle()

    def meanwhile(self, act: Callable[[], object]) -> None:
        """Have something happen in the middle of the next run."""
        acts = [act]

        def perform(_context: Context, _run: Run) -> Counts:
            if acts:
                acts.pop()()
            return DONE

        self.perform = perform

    def pause(self, name: str = NAME) -> None:
        """Pause a task, or all by *."""
        self._execute(insert(pauses).values(kind="task", name=name, reason="moving house", paused_at=0))

    def resume(self, name: str = NAME) -> None:
        """Lift the pause."""
        self._execute(delete(pauses).where(pauses.c.name == name))

    def rows(self) -> list[Any]:
        """Return the run history, in the order of the moments."""
        query = select(runs_table).order_by(runs_table.c.scheduled_for)
        return list(self.kit.context().database.transact(lambda connection: connection.execute(query).all()))

    def became(self) -> dict[str, str]:
        """Return by day and time what became of each fire."""
        return {f"{from_ms(row.scheduled_for):%d %H:%M}": row.status for row in self.rows()}

    def _execute(self, statement: Any) -> None:
        self.kit.context().database.transact(lambda connection: connection.execute(statement))
