"""A task as the generator writes it: which items its runs are for, and what becomes of those they cannot finish."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chalicelib.core.errors import OutOfTimeError
from chalicelib.core.outcome import Counts
from chalicelib.runs.claims import claim
from chalicelib.runs.fire import Fire
from chalicelib.schedule.schedule import Schedule
from nightshift.make import task
from nightshift.testkit.kit import Kit

# The second is an hour sooner in UTC.
FIRES = (datetime(2026, 3, 23, 8, tzinfo=UTC), datetime(2026, 3, 30, 7, tzinfo=UTC))
BEFORE = datetime(2026, 3, 16, 8, tzinfo=UTC)


class Weekly:
    """The task that was made, and what it is asked to find; it has so many items, each of which takes a minute."""

    def __init__(self, project: Path, folder: Path, *items: str) -> None:
        schedule = Schedule("0 9 * * 1  Europe/Berlin")
        contents = task.contents_of(project, "weekly", schedule, now=BEFORE)
        self.names: dict[str, Any] = {}
        exec(contents["chalicelib/tasks/weekly.py"], self.names)
        self.asked: list[tuple[datetime, datetime, str]] = []
        self.done: list[str] = []
        self.kit = Kit(f"sqlite:///{folder / 'test.db'}")
        self.names |= {"_find": partial(self._find, items), "_do": self._do}

    def _find(self, items: Sequence[str], _context: object, start: datetime, end: datetime, after: str) -> list[str]:
        self.asked.append((start, end, after))
        return [item for item in items if item > after]

    def _do(self, _context: object, item: str) -> Counts:
        self.kit.clock.advance(60)
        self.done.append(item)
        return Counts(total=1, succeeded=1)

    def perform(self, fire: datetime, *, seconds: float = 300) -> Counts:
        """Perform it for a fire, as an invocation that has so many seconds."""
        context = self.kit.context(seconds=seconds)
        run = claim(context, "weekly", Fire(scheduled_for=fire, trigger="schedule", dry_run=False), overlap="skip")
        counts: Counts = self.names["weekly"](context, run)
        return counts


def windows(weekly: Weekly) -> list[tuple[datetime, datetime]]:
    for fire in FIRES:
        weekly.kit.clock.advance(86_400)
        weekly.perform(fire)
    return [(start, end) for start, end, _ in weekly.asked]


def test_each_run_of_a_task_has_a_window_that_begins_where_that_of_the_one_before_ends(
    project: Path, tmp_path: Path
) -> None:
    assert windows(Weekly(project, tmp_path)) == [(BEFORE, FIRES[0]), FIRES]


def test_the_windows_of_a_task_follow_a_stages_own_schedule(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEEKLY_SCHEDULE", "0 9 * * * Europe/Berlin")
    of_a_day = [(fire - timedelta(days=1), fire) for fire in FIRES]
    assert windows(Weekly(project, tmp_path)) == of_a_day


def test_what_a_task_does_not_finish_in_its_time_the_next_attempt_goes_on_with(project: Path, tmp_path: Path) -> None:
    weekly = Weekly(project, tmp_path, "a", "b", "c", "d")
    with pytest.raises(OutOfTimeError, match="2 items are done, the rest continues later"):
        weekly.perform(FIRES[0], seconds=125)
    assert weekly.done == ["a", "b"]
    weekly.kit.clock.advance(3600)
    assert weekly.perform(FIRES[0]) == Counts(total=4, succeeded=4)
    assert weekly.done == ["a", "b", "c", "d"]
    assert weekly.asked == [(BEFORE, FIRES[0], ""), (BEFORE, FIRES[0], "b")]


def test_a_task_for_the_application_enqueues_one_job_at_each_fire_with_its_window(
    project: Path, tmp_path: Path
) -> None:
    schedule = Schedule("0 9 * * 1  Europe/Berlin")
    contents = task.contents_of(project, "weekly", schedule, now=BEFORE, is_for_app=True)
    names: dict[str, Any] = {}
    exec(contents["chalicelib/tasks/weekly.py"], names)
    kit = Kit(f"sqlite:///{tmp_path / 'test.db'}")
    fire = partial(Fire, scheduled_for=FIRES[1], trigger="schedule")
    dry = claim(kit.context(), "weekly", fire(dry_run=True), overlap="skip")
    assert names["weekly"](kit.context(), dry) == Counts(total=1, skipped=1)
    assert kit.jobs() == []
    run = claim(kit.context(), "weekly", fire(dry_run=False), overlap="skip")
    # The second is what a run that was killed behind its work does when it is repeated.
    assert [names["weekly"](kit.context(), run) for _ in range(2)] == [Counts(total=1, succeeded=1)] * 2
    (job,) = kit.jobs()
    assert (job.type, json.loads(job.data)) == (
        "weekly",
        {
            "scheduled_for": "2026-03-30T07:00:00Z",
            "window": {"start": "2026-03-23T08:00:00Z", "end": "2026-03-30T07:00:00Z"},
        },
    )
    (enqueue, *_) = json.loads(contents[".chalice/policies/weekly.json"])["Statement"]
    assert enqueue["Resource"] == ["${WorkQueueArn}", "${FailedFiresQueueArn}"]
