"""A soak's days: the local day on a database and Redis, with everything failing that may fail, and then calm."""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from chalicelib.core.clock import from_ms, to_ms
from chalicelib.core.telemetry import logger
from chalicelib.schedule.schedule import Schedule
from nightshift.cli.requests import project_schedules
from nightshift.dev.runtime import QUEUES, Runtime
from nightshift.dev.scheduler import schedules_of
from nightshift.local.invocation import LocalClock
from soak.acts import Act, Counted, Killer, Outages
from soak.application import Application
from soak.chaos import chaos
from soak.inspection import Left
from soak.operator import Operator
from soak.place import Place, place
from soak.post import Post
from soak.rules import Rules
from soak.settings import APPLICATION, RATES, START
from soak.story import Story
from soak.weather import Weather

# Longer than any message, lease, backoff or catch-up may take to come to an end.
CALM_DAYS = 4
# Of a day that does nothing a year passes in a second.
SPEED = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Year:
    """All that a soak is made of."""

    here: Place
    clock: LocalClock
    planned: Mapping[str, Schedule]
    weather: Weather
    rules: Rules
    functions: Mapping[str, Counted]
    outages: Mapping[str, Outages]
    killer: Killer
    operator: Operator
    application: Application
    post: Post
    story: Story

    @property
    def now(self) -> datetime:
        """The moment by the soak's clock."""
        return from_ms(self.clock.now_ms())

    def live(self, *, days: int, seconds: float) -> None:
        """Live at most so many days in at most so many seconds of the machine's, and then some calm ones."""
        asyncio.run(self._live(days=days, seconds=seconds))

    async def _live(self, *, days: int, seconds: float) -> None:
        deadline, end = time.monotonic() + seconds, self.now + timedelta(days=days)
        works: dict[str, Callable[[Any], None]] = {name: each.act for name, each in self.outages.items()}
        works |= {"killer": self.killer.act, "operator": self.operator.act, "application": self.application.ask}
        runtime = Runtime(
            functions={**self.functions, **{name: Act(work) for name, work in works.items()}},
            scheduler=self.rules,
            aws=self.here.aws,
            clock=self.clock,
            speed=SPEED,
            log=self.story.add,
        )
        while time.monotonic() < deadline and self.now < end:
            await runtime.run(until=self.now + timedelta(days=1))
            self.post.collect()
        self._calm_down()
        for _ in range(CALM_DAYS):
            await runtime.run(until=self.now + timedelta(days=1))
            self.post.collect()
        await runtime.close()

    def left(self, connection: Connection) -> Left:
        """Return what is left to be inspected; the watch has seen each schedule after the first day."""
        return Left(
            connection=connection,
            planned=self.planned,
            first=START + timedelta(days=1),
            now=self.now,
            requests=self.application.requests,
            post=self.post,
            ask=self.operator.ask,
        )

    def _calm_down(self) -> None:
        self.weather.is_calm = self.rules.is_calm = True
        self.rules.drop({*self.outages, "killer", "operator"})
        for outages in self.outages.values():
            outages.act({"act": "start"})
        self.operator.resume_all()
        self.application.is_content = True


@contextmanager
def year(folder: Path, project: Path, *, server: str, days: int, seed: int) -> Iterator[Year]:
    """Enter a place of its own, with a database server of this name, in which a soak can be lived.

    Raises NotInstalledError.
    """
    clock = LocalClock(ahead_ms=0)
    clock.set(to_ms(START))
    weather = Weather(start=START, days=days, seed=seed)
    with (
        place(folder, clock, weather, server=server, days=days, seed=seed) as here,
        Story(folder / "log.jsonl", clock) as story,
    ):
        # The application and the operator are in this process.
        for handler in logger.handlers:
            handler.setStream(story)  # type: ignore[attr-defined]
        planned = project_schedules()
        schedules = schedules_of(project, planned)
        rules = Rules(
            {**schedules, **RATES, "application": APPLICATION}, start=START, seed=seed, steady={"application"}
        )
        for due in chaos(planned, start=START, days=days, seed=seed):
            rules.add(due)
        functions = {
            name: Counted(name, project=project, clock=clock, log=partial(story.add, name))
            for name in (*schedules, *QUEUES)
        }
        # Making all this took time, which belongs to no day.
        clock.set(to_ms(START))
        yield Year(
            here=here,
            clock=clock,
            planned=planned,
            weather=weather,
            rules=rules,
            functions=functions,
            outages={"database": Outages(here.database), "redis": Outages(here.redis)},
            killer=Killer(functions, seed=seed),
            operator=Operator(planned, clock),
            application=Application(clock, seed=seed),
            post=Post(here.aws),
            story=story,
        )
