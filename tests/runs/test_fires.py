"""The invariant of fires, whatever happens: each that is due has exactly one run, or one reason why it has none.

Hypothesis makes up stories: fires that come, do not, or come late or twice; runs that fail, continue, or whose
process is killed, as any other may be at any of its statements; pauses, deployments, and a watch that stands still.
FIRES_STORIES=2000 has it tell so many for each database, and others each time; without it they are few, or several
times as many with SWEEP=1, and always the same.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import count
from typing import Any, cast

import pytest
from aws_lambda_powertools.metrics import EphemeralMetrics
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import event

from chalicelib.core.clock import from_ms
from chalicelib.core.context import Context
from chalicelib.core.engine import engine_for
from chalicelib.core.errors import RunFailedError
from chalicelib.core.outcome import Counts
from chalicelib.core.telemetry import logger
from chalicelib.runs.claims import Run
from nightshift.testkit.kit import Killed
from tests.runs.plan import DONE, MINUTE, NAME, Plan, die, fail, run_out_of_time
from tests.sweep import stories
from tests.tables import empty_tables

STORIES = int(os.environ.get("FIRES_STORIES", "0"))
FEW_STORIES = {"sqlite": 5, "mysql": 3}
STEPS = 25
# The first two are the same in other words.
SCHEDULES = ("0 * * * *", "@hourly UTC", "*/30 * * * * Asia/Kathmandu", "0,20 7-23 * * *", "5 */2 * * *")
# About as long as a wait, a lease, a grace, and a run is in the way of others.
MINUTES = st.sampled_from([1, 5, 16, 30, 61])
FATES = st.sampled_from(["comes", "comes", "comes", "is lost", "is late", "comes twice"])
ENDINGS = st.sampled_from(["well", "well", "fails", "is killed", "continues", "beside the worker", "beside another"])
STATEMENTS = st.none() | st.integers(1, 12)


class Story(RuleBasedStateMachine):
    """One story. Each fire has an id, which Lambda's repetition of it bears too."""

    def __init__(self, make_plan: Callable[..., Plan]) -> None:
        super().__init__()
        self._make_plan = make_plan
        self._ids = count()
        # What will come yet: (moment, id of its request).
        self.late: list[tuple[datetime, str]] = []
        self.endings: deque[str] = deque()
        self.due: set[datetime] = set()
        self.succeeded: set[datetime] = set()
        self.is_paused = False
        self.at_work = 0

    @initialize(
        text=st.sampled_from(SCHEDULES),
        overlap=st.sampled_from(["skip", "queue"]),
        policy=st.sampled_from([("skip", 1), ("latest", 1), ("all", 2), ("all", 99)]),
    )
    def begin(self, text: str, overlap: str, policy: tuple[str, int]) -> None:
        self.policy, self.overlap = policy, overlap
        self.plan = self._make_plan(text, overlap=overlap, catch_up=policy[0], catch_up_limit=policy[1])
        self.plan.perform = self.perform

    def perform(self, context: Context, run: Run) -> Counts:
        assert run.scheduled_for not in self.succeeded, "it runs once more, though it has succeeded"
        assert self.at_work == 0, "two runs of the task are at work at once"
        ending = self.endings.popleft() if self.endings else "well"
        self.at_work += 1
        try:
            if ending in MISHAPS:
                MISHAPS[ending]()
            if ending == "beside the worker":
                self.work()
                self.plan.watch()
            if ending == "beside another":
                self.come(run.scheduled_for - MINUTE * 7, self.new_id())
        finally:
            self.at_work -= 1
        return DONE

    def new_id(self) -> str:
        return f"r{next(self._ids)}"

    def come(self, moment: datetime, request_id: str) -> None:
        """Have a fire come; one that never was due asks for itself as a person does."""
        if moment in self.due and not self.plan.planned[NAME].is_due(moment):
            # It was by a schedule that is no more, and the function drops it.
            return
        try:
            if moment in self.due:
                self.plan.fire(moment, at=self.now, request_id=request_id)
            else:
                self.plan.invoke(scheduled_for=moment.isoformat())
        except (RunFailedError, Killed) as error:
            # Lambda repeats it, a while later or never.
            self.late.append((moment, request_id))
            if isinstance(error, Killed):
                raise

    @property
    def now(self) -> datetime:
        return from_ms(self.plan.kit.clock.now_ms())

    @contextmanager
    def killed_at(self, statement: int | None) -> Iterator[None]:
        """End the process at its nth statement or commit."""
        steps, engine = count(1), self.plan.kit.context().database.engine

        def step(*arguments: Any) -> None:
            # A connection that is killed there, in a process that goes on, would keep its lock.
            if "BEGIN IMMEDIATE" not in arguments and next(steps) == statement:
                raise Killed

        names = ("before_cursor_execute", "commit")
        for name in names:
            event.listen(engine, name, step)
        try:
            with suppress(Killed):
                yield
        finally:
            for name in names:
                event.remove(engine, name, step)

    @rule(minutes=MINUTES, fates=st.lists(FATES, min_size=4, max_size=4), statement=STATEMENTS)
    def time_passes(self, minutes: int, fates: list[str], statement: int | None) -> None:
        until = self.now + minutes * MINUTE
        for moment, fate in zip(self.plan.planned[NAME].next(self.now, count=4), fates, strict=True):
            if moment > until:
                break
            self.due.add(moment)
            self.plan.at(max(moment, self.now))
            request_id = self.new_id()
            if fate in {"comes", "comes twice"}:
                with self.killed_at(statement):
                    self.come(moment, request_id)
            if fate in {"is late", "comes twice"}:
                self.late.append((moment, request_id))
        self.plan.at(max(until, self.now))

    @rule(endings=st.lists(ENDINGS, min_size=1, max_size=4))
    def runs_will_end(self, endings: list[str]) -> None:
        self.endings.extend(endings)

    @rule(n=st.integers(0, 5))
    def something_late_comes(self, n: int) -> None:
        if self.late:
            with suppress(Killed):
                self.come(*self.late.pop(n % len(self.late)))

    @rule(statement=STATEMENTS)
    def the_watch_looks(self, statement: int | None) -> None:
        with self.killed_at(statement):
            self.plan.watch()

    @rule(statement=STATEMENTS)
    def the_worker_works(self, statement: int | None) -> None:
        with self.killed_at(statement):
            self.work()

    def work(self) -> None:
        self.plan.kit.dispatch()
        self.plan.kit.drain()

    @rule()
    def somebody_pauses_or_resumes(self) -> None:
        (self.plan.resume if self.is_paused else self.plan.pause)()
        self.is_paused = not self.is_paused

    @rule(text=st.sampled_from(SCHEDULES))
    def it_is_deployed_again(self, text: str) -> None:
        # Dispatch has come since the deployment before, whatever became of the watch.
        self.plan.dispatch()
        self.plan.deploy(text)

    @invariant()
    def what_has_succeeded_is_known(self) -> None:
        self.succeeded |= {from_ms(row.scheduled_for) for row in self.plan.rows() if row.status == "succeeded"}

    def teardown(self) -> None:
        """Let all be well for some hours, and look at what became of each fire."""
        self.endings.clear()
        if self.is_paused:
            self.somebody_pauses_or_resumes()
        for _ in range(20):
            self.time_passes(15, ["comes"] * 4, None)
            self.plan.watch()
            self.work()
            self.what_has_succeeded_is_known()
        rows = {from_ms(row.scheduled_for): row for row in self.plan.rows()}
        assert {moment for moment, row in rows.items() if row.trigger != "manual"} <= self.due
        for moment in self.due:
            row = rows[moment]
            assert row.status in {"succeeded", "dead", "missed"}, f"{moment}: {row.status}"
            assert (row.status == "succeeded") == (row.error is None), f"{moment}: {row.status}, {row.error}"
            if self.policy == ("all", 99):
                # Whatever was in its way, only that another run was not over keeps it from running.
                expected = {("overlap", "skip")} if row.status == "missed" else set()
                assert not expected or (row.error_type, self.overlap) in expected, f"{moment}: {row.error}"


MISHAPS = {"fails": fail, "is killed": die, "continues": run_out_of_time}


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    level = logger.log_level
    logger.setLevel("CRITICAL")
    monkeypatch.setattr(EphemeralMetrics, "flush_metrics", lambda _self: None)
    yield
    logger.setLevel(level)


@pytest.mark.usefixtures("quiet")
def test_whatever_happens_each_fire_that_is_due_has_one_run_or_one_reason(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_plan(text: str, **policy: Any) -> Plan:
        with engine.begin() as connection:
            empty_tables(connection)
        return Plan(database_url, monkeypatch, text, **policy)

    engine = engine_for(database_url)
    run_state_machine_as_test(
        cast(Any, lambda: Story(make_plan)),
        settings=settings(
            max_examples=STORIES or stories(FEW_STORIES[engine.dialect.name]),
            derandomize=not STORIES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        ),
    )
