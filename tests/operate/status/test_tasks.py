"""Each task as it stands: its schedule, pause, latest run, durations, next fires, and whether it is heard of."""

from datetime import datetime

import pytest

from chalicelib.core.clock import from_ms, to_ms
from tests.operate.status.conftest import DAY, HOUR, MINUTE, NOW, PLANNED, Deployment

MORNING = NOW.replace(hour=8)


def test_the_tasks_are_those_that_are_planned_in_their_order(deployment: Deployment) -> None:
    found = deployment.read().tasks
    assert [task.name for task in found] == list(PLANNED)
    assert [(task.schedule, task.words) for task in found] == [
        ("0 8 * * *", "At 08:00 every day"),
        ("0 1 * * *", "At 01:00 every day"),
        ("every 15 minutes", "Every 15 minutes"),
        ("0 9 1 * * Europe/Berlin", "At 09:00 on the first day of every month, Europe/Berlin"),
    ]


def test_the_next_three_fires_are_told_in_utc_and_by_the_clock_of_the_zone(deployment: Deployment) -> None:
    monthly = deployment.task("monthly_report")
    assert [fire.isoformat() for fire in monthly.fires] == [
        "2026-04-01T07:00:00+00:00",
        "2026-05-01T07:00:00+00:00",
        "2026-06-01T07:00:00+00:00",
    ]
    assert monthly.local_fires[0] == "1 Apr 09:00 Europe/Berlin"
    assert deployment.task("external_sync").fires == ()


def test_the_latest_run_is_that_of_the_latest_fire(deployment: Deployment) -> None:
    deployment.ran("daily_digest", MORNING, "failed", error="it broke", attempt=2, total=9, failed=3)
    deployment.ran("daily_digest", MORNING - DAY, started_at=to_ms(NOW), finished_at=to_ms(NOW))
    run = deployment.task("daily_digest").latest
    assert run is not None
    assert (run.scheduled_for, run.status, run.error) == (MORNING, "failed", "it broke")
    assert (run.attempt, run.total, run.failed) == (2, 9, 3)


def test_a_task_that_never_ran_has_nothing_to_tell(deployment: Deployment) -> None:
    task = deployment.task("daily_digest")
    assert (task.latest, task.settled, task.durations, task.pause, task.unheard_since) == (None, (), (), None, None)


def test_durations_are_of_the_latest_runs_that_succeeded(deployment: Deployment) -> None:
    for number in range(40):
        status = "failed" if number % 10 == 0 else "succeeded"
        fire = MORNING - number * DAY
        deployment.ran("daily_digest", fire, status, started_at=to_ms(fire), finished_at=to_ms(fire) + 1000 + number)
    deployment.ran("external_sync", MORNING)
    durations = deployment.task("daily_digest").durations
    assert durations[-3:] == (1003, 1002, 1001)
    assert len(durations) == 30
    assert not {1000, 1010, 1020} & set(durations)


@pytest.mark.parametrize("error_type", ["paused", "overlap"])
def test_a_fire_that_was_held_back_tells_nothing_of_how_a_task_is(deployment: Deployment, error_type: str) -> None:
    deployment.ran("daily_digest", MORNING - 2 * DAY, "dead")
    deployment.missed("daily_digest", MORNING - DAY, error_type)
    deployment.ran("daily_digest", MORNING, "running")
    task = deployment.task("daily_digest")
    assert task.latest is not None
    assert (task.latest.status, [run.status for run in task.settled]) == ("running", ["dead"])


def test_a_pause_of_the_task_comes_before_that_of_every_task(deployment: Deployment) -> None:
    deployment.pause("task", "*", "a migration")
    deployment.pause("task", "daily_digest", "the mails are wrong")
    deployment.pause("job", "external_sync", "another kind")
    reasons = {task.name: task.pause and task.pause.reason for task in deployment.read().tasks}
    assert reasons["daily_digest"] == "the mails are wrong"
    assert reasons["external_sync"] == "a migration"


LATE = NOW - 31 * MINUTE


@pytest.mark.parametrize(
    ("checked_until", "unheard_since"),
    [
        # Due at 08:00; a fire has 15 minutes to come, and the watch 15 more to say what becomes of it.
        (MORNING - MINUTE, MORNING),
        (MORNING, None),
        (MORNING - 5 * DAY, MORNING - 4 * DAY),
    ],
)
def test_a_fire_that_the_watch_has_not_decided_about_is_unheard_of(
    deployment: Deployment, checked_until: datetime, unheard_since: datetime | None
) -> None:
    deployment.watch("daily_digest", checked_until)
    assert deployment.task("daily_digest").unheard_since == unheard_since


def test_the_watch_has_its_time_to_decide(deployment: Deployment) -> None:
    deployment.watch("daily_digest", MORNING - MINUTE)
    deployment.kit.clock.advance((MORNING + 30 * MINUTE - NOW).total_seconds())
    assert deployment.task("daily_digest").unheard_since is None
    deployment.kit.clock.advance(1)
    assert deployment.task("daily_digest").unheard_since == MORNING


def test_of_a_schedule_that_the_watch_has_not_seen_nothing_is_said(deployment: Deployment) -> None:
    deployment.watch("daily_digest", MORNING - 5 * DAY, text="0 7 * * *")
    assert deployment.task("daily_digest").unheard_since is None


def test_a_paused_task_need_not_be_heard_of(deployment: Deployment) -> None:
    deployment.watch("daily_digest", MORNING - 5 * DAY)
    deployment.pause("task", "*")
    assert deployment.task("daily_digest").unheard_since is None


def test_after_a_pause_the_watch_has_its_time_until_the_next_fire(deployment: Deployment) -> None:
    deployment.watch("daily_digest", MORNING - 5 * DAY)
    deployment.missed("daily_digest", MORNING - DAY, "paused")
    assert deployment.task("daily_digest").unheard_since is None
    deployment.ran("daily_digest", MORNING)
    assert deployment.task("daily_digest").unheard_since == MORNING - 4 * DAY


def test_an_interval_is_unheard_of_when_its_fires_cease(deployment: Deployment) -> None:
    deployment.watch("external_sync", NOW - DAY)
    deployment.ran("external_sync", LATE)
    # By hand is no fire of the schedule.
    deployment.ran("external_sync", NOW - MINUTE, trigger="manual")
    assert deployment.task("external_sync").unheard_since == LATE
    deployment.ran("external_sync", NOW - 30 * MINUTE)
    assert deployment.task("external_sync").unheard_since is None


def test_an_interval_that_never_fired_is_unheard_of_since_the_watch_saw_it(deployment: Deployment) -> None:
    deployment.watch("external_sync", NOW - HOUR)
    assert deployment.task("external_sync").unheard_since == NOW - HOUR


def test_a_run_that_is_not_over_is_running_until_it_is(deployment: Deployment) -> None:
    until = to_ms(NOW + MINUTE)
    run_id = deployment.ran("external_sync", NOW - MINUTE, "running", lease_until=until, attempt=3)
    deployment.ran("a_task_that_is_no_more", NOW - HOUR, "running")
    deployment.ran("daily_digest", MORNING)
    found = deployment.read().running
    assert [run.task for run in found] == ["external_sync", "a_task_that_is_no_more"]
    assert (found[0].id, found[0].attempt, found[0].lease_until) == (run_id, 3, from_ms(until))
