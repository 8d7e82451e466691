"""Schedules that change while the watch does not look: no fire of any of them is lost, and none is made up.

Each story deploys a task with several schedules, in other words or of another kind, at moments of its own, while fires
come, come late or are lost, pauses begin and end, and the watch looks when it likes. With SWEEP=1 there are ten
thousand.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from random import Random

import pytest
from aws_lambda_powertools.metrics import EphemeralMetrics

from chalicelib.core.clock import from_ms
from chalicelib.core.engine import engine_for
from chalicelib.core.telemetry import logger
from chalicelib.runs import catch_up
from chalicelib.schedule.schedule import Schedule
from nightshift.testkit.database import migrate
from tests.runs.plan import MINUTE, NAME, PREFIX, START, Plan
from tests.sweep import IS_SWEEP
from tests.tables import empty_tables

STORIES = 10_000 if IS_SWEEP else 60
BATCHES = 20 if IS_SWEEP else 2
TEXTS = (
    "0 8 * * *",
    "0 8 * * * UTC",
    "0 9 * * *",
    "30 8 * * 1 Europe/Berlin",
    "0 */3 * * *",
    "0 */6 * * * Asia/Kathmandu",
    "20 7,19 * * 1-5",
    "every 2 hours",
    "every 120 minutes",
)
SCHEDULES = {text: Schedule(text) for text in TEXTS}
POLICIES = (("skip", 1), ("latest", 1), ("all", 2), ("all", 400))
LONGEST = timedelta(days=4)


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    level = logger.log_level
    logger.setLevel("CRITICAL")
    monkeypatch.setattr(EphemeralMetrics, "flush_metrics", lambda _self: None)
    yield
    logger.setLevel(level)


class Story:
    """One story; `due` has each moment that was due, and whether its fire came."""

    def __init__(self, plan: Plan, random: Random) -> None:
        self.plan, self.random = plan, random
        self.due: dict[datetime, bool] = {}
        # Of intervals, whose fires have no moments of their own.
        self.extra: set[datetime] = set()
        self.is_paused = False

    @property
    def now(self) -> datetime:
        return from_ms(self.plan.kit.clock.now_ms())

    @property
    def schedule(self) -> Schedule:
        return self.plan.planned[NAME]

    def tell(self) -> None:
        acts = [self.let_time_pass, self.let_time_pass, self.deploy, self.deploy, self.look, self.pause_or_resume]
        for _ in range(self.random.randint(4, 12)):
            self.random.choice(acts)()
        if self.is_paused:
            self.pause_or_resume()
        self.let_time_pass(2 * self.plan.task.grace)
        self.look()

    def let_time_pass(self, span: timedelta | None = None) -> None:
        until = self.now + (span or LONGEST * self.random.random() ** 2)
        is_up = self.random.random() < 0.7
        for moment in self.moments(until):
            comes = is_up and self.random.random() < 0.8
            if comes:
                self.plan.fire(moment)
            if self.schedule.every is None:
                self.due[moment] = comes
            elif comes:
                self.extra.add(moment)
        self.plan.at(until)

    def moments(self, until: datetime) -> list[datetime]:
        """Return when fires are due, minute by minute for cron text, or some of an interval's."""
        first = self.now.replace(second=0, microsecond=0) + MINUTE
        step = timedelta(hours=2) if self.schedule.every else MINUTE
        every = [first + n * step for n in range((until - first) // step + 1)]
        return (
            [moment for moment in every if moment.minute % 5 == 0 and self.schedule.is_due(moment)]
            if step == MINUTE
            else every
        )

    def deploy(self) -> None:
        # Dispatch comes each minute, whatever becomes of the watch.
        self.record()
        self.let_time_pass(timedelta(seconds=self.random.randint(1, 90)))
        self.plan.deploy(self.random.choice(TEXTS))

    def record(self) -> None:
        context = self.plan.kit.context(function_name=f"{PREFIX}dispatch")
        catch_up.record_schedules(context, self.plan.planned)

    def look(self) -> None:
        self.record()
        catch_up.reconcile(self.plan.kit.context(), self.plan.task, self.schedule)

    def pause_or_resume(self) -> None:
        (self.plan.resume if self.is_paused else self.plan.pause)()
        self.is_paused = not self.is_paused


def check(story: Story) -> None:
    rows = {from_ms(row.scheduled_for): row for row in story.plan.rows()}
    # What did not come is missed only when it is late.
    decided = story.now - story.plan.task.grace
    due = {moment: came for moment, came in story.due.items() if came or moment <= decided}
    assert set(rows) == {*due, *story.extra}
    asked = [job.data for job in story.plan.kit.jobs()]
    assert len(asked) == len(set(asked))
    for moment, came in due.items():
        if came and rows[moment].status != "missed":
            assert rows[moment].status == "succeeded"
        else:
            assert rows[moment].error_type in {"no_fire", "held_back"}, moment
    if story.plan.task.catch_up_limit == 400:
        lost = {moment for moment in due if rows[moment].status == "missed"}
        assert len(asked) == len(lost)
    if story.plan.task.catch_up == "skip":
        assert asked == []


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_fire_is_lost_or_made_up_whenever_schedules_change(
    batch: int, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_for(sqlite_url)
    migrate(engine)
    for n in range(batch, STORIES, BATCHES):
        random = Random(n)
        with engine.begin() as connection:
            empty_tables(connection)
        policy, limit = random.choice(POLICIES)
        plan = Plan(sqlite_url, monkeypatch, random.choice(TEXTS), catch_up=policy, catch_up_limit=limit)
        assert plan.kit.clock.now_ms() == START.timestamp() * 1000
        story = Story(plan, random)
        story.tell()
        try:
            check(story)
        except AssertionError as error:
            raise AssertionError(f"story {n}: {error}") from error
