"""What is not well is found, named, and put in the order in which somebody should look at it."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from chalicelib.core.clock import to_ms
from chalicelib.queue import breaker
from chalicelib.schedule.schedule import Schedule
from tests.operate.status.conftest import DAY, HOUR, MINUTE, NOW, Deployment

MORNING = NOW.replace(hour=8)


@pytest.fixture
def well(deployment: Deployment) -> Deployment:
    """A deployment in which all is well."""
    deployment.ran("daily_digest", MORNING)
    deployment.ran("database_backup", NOW.replace(hour=1))
    deployment.ran("external_sync", NOW - 5 * MINUTE)
    deployment.backup(NOW.replace(hour=1))
    deployment.watch("daily_digest", NOW)
    deployment.watch("external_sync", NOW)
    deployment.job("completed")
    deployment.job("pending")
    return deployment


def test_all_is_well(well: Deployment) -> None:
    status = well.read()
    assert status.is_well
    assert (status.headline, status.findings) == ("All is well.", ())


def test_where_nothing_has_run_nothing_is_wrong(deployment: Deployment) -> None:
    status = deployment.read()
    assert status.is_well
    assert status.headline == "Nothing has run yet, and nothing is wrong."


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("dead", "daily_digest was given up on 2 Mar 08:00"),
        ("failed", "daily_digest failed on 2 Mar 08:00"),
        ("missed", "daily_digest missed its fire of 2 Mar 08:00"),
    ],
)
def test_a_task_that_is_in_trouble_is_told_with_its_reason_until_it_is_over(
    deployment: Deployment, status: str, told: str
) -> None:
    deployment.ran("daily_digest", MORNING, status, error_type="no_fire", error="because of ann@example.org")
    (finding,) = deployment.read().findings
    assert f"{finding.subject} {finding.matter}" == told
    assert (finding.section, finding.reason) == ("tasks", "because of a***@example.org")
    assert deployment.read().headline == f"Not well: {told}."
    deployment.ran("daily_digest", MORNING + HOUR)
    assert deployment.told() == []


@pytest.mark.parametrize("status", ["running", "succeeded", "skipped"])
def test_a_task_whose_latest_run_is_no_trouble_is_well(deployment: Deployment, status: str) -> None:
    deployment.ran("daily_digest", MORNING, status, lease_until=to_ms(NOW))
    assert deployment.told() == []


@pytest.mark.parametrize("error_type", ["paused", "overlap"])
def test_a_fire_that_was_held_back_on_purpose_is_no_trouble_and_hides_none(
    deployment: Deployment, error_type: str
) -> None:
    deployment.missed("daily_digest", MORNING, error_type)
    assert deployment.told() == []
    deployment.ran("daily_digest", MORNING - DAY, "dead")
    assert deployment.told() == ["daily_digest was given up on 1 Mar 08:00"]


def test_an_earlier_fire_whose_run_ends_badly_after_a_later_one_is_told_until_one_ends_well(
    deployment: Deployment,
) -> None:
    late = to_ms(MORNING + 3 * HOUR)
    deployment.ran("daily_digest", MORNING - DAY, "dead", finished_at=late)
    deployment.ran("daily_digest", MORNING)
    assert deployment.told() == ["daily_digest was given up on 2 Mar 11:00"]
    deployment.ran("daily_digest", MORNING - 2 * DAY, finished_at=late + 1)
    assert deployment.told() == []


def test_an_earlier_fire_that_is_made_up_for_does_not_hide_that_the_latest_was_given_up(
    deployment: Deployment,
) -> None:
    deployment.ran("daily_digest", MORNING, "dead")
    deployment.ran("daily_digest", MORNING - DAY, finished_at=to_ms(NOW))
    assert deployment.told() == ["daily_digest was given up on 2 Mar 08:00"]


def test_the_latest_fire_and_an_earlier_one_that_ended_after_it_are_both_told(deployment: Deployment) -> None:
    deployment.ran("daily_digest", MORNING, "failed")
    deployment.ran("daily_digest", MORNING - DAY, "dead", finished_at=to_ms(NOW))
    assert deployment.told() == ["daily_digest was given up on 2 Mar 12:00", "daily_digest failed on 2 Mar 08:00"]


def test_a_run_that_begins_anew_does_not_hide_that_the_last_was_given_up(deployment: Deployment) -> None:
    deployment.ran("daily_digest", MORNING - DAY, "dead")
    deployment.ran("daily_digest", MORNING, "running", lease_until=to_ms(NOW))
    assert deployment.told() == ["daily_digest was given up on 1 Mar 08:00"]


def test_a_watch_that_does_not_look_comes_first(well: Deployment) -> None:
    well.ran("daily_digest", MORNING + HOUR, "dead")
    well.watch("database_backup", NOW - 3 * DAY)
    assert well.told() == [
        "the watch has not looked at a fire since 28 Feb 01:00",
        "daily_digest was given up on 2 Mar 09:00",
    ]


def test_an_interval_that_has_ceased_is_told_by_its_own_name(deployment: Deployment) -> None:
    deployment.watch("external_sync", NOW - 3 * DAY)
    (finding,) = deployment.read().findings
    assert (finding.subject, finding.matter) == ("external_sync", "has not fired since 27 Feb 12:00")
    assert finding.reason == "it is due every 15 minutes"


@pytest.mark.parametrize(("minutes", "is_stuck"), [(30, False), (31, True)])
def test_stuck_run_is_a_finding(deployment: Deployment, minutes: int, is_stuck: bool) -> None:
    lease_until = to_ms(NOW - minutes * MINUTE)
    deployment.ran("external_sync", NOW - HOUR, "running", lease_until=lease_until)
    expected = ["external_sync has a run that appears stuck since 2 Mar 11:29"]
    assert deployment.told() == (expected if is_stuck else [])


NIGHTLY, WORKDAYS, HOURLY = "0 1 * * *", "0 1 * * 1-5", "every 60 minutes"
# Noon on a Monday.
FRIDAY = NOW.replace(day=1, hour=1) - 2 * DAY


@pytest.mark.parametrize(
    ("schedule", "taken_at", "told"),
    [
        (NIGHTLY, NOW - 11 * HOUR, None),
        # The next was due at 01:00, and has until 07:00.
        (NIGHTLY, NOW - 12 * HOUR, "the newest verified backup is of 2 Mar 00:00, 12 h ago"),
        (NIGHTLY, NOW - 5 * DAY, "the newest verified backup is of 25 Feb 12:00, 5 d ago"),
        (WORKDAYS, FRIDAY, "the newest verified backup is of 27 Feb 01:00, 3 d ago"),
        ("0 1 * * 0", NOW - 30 * HOUR, None),
        (HOURLY, NOW - 7 * HOUR, None),
        (HOURLY, NOW - 8 * HOUR, "the newest verified backup is of 2 Mar 04:00, 8 h ago"),
    ],
)
def test_a_backup_is_too_old_when_its_schedule_was_due_since(
    deployment: Deployment, schedule: str, taken_at: datetime, told: str | None
) -> None:
    deployment.planned = {"database_backup": Schedule(schedule)}
    deployment.backup(taken_at)
    deployment.backup(NOW - HOUR, verified=False)
    assert deployment.told() == ([] if told is None else [told])


def test_over_the_weekend_a_backup_of_workdays_is_not_too_old(deployment: Deployment) -> None:
    deployment.planned = {"database_backup": Schedule(WORKDAYS)}
    deployment.backup(FRIDAY)
    deployment.kit.clock.advance(-12 * 3600)
    assert deployment.told() == []


@pytest.mark.parametrize(("hours", "told"), [(6, []), (7, ["no backup was ever verified"])])
def test_a_first_backup_has_its_time_to_be_verified(deployment: Deployment, hours: int, told: list[str]) -> None:
    deployment.backup(NOW - hours * HOUR, verified=False)
    assert deployment.told() == told


def test_without_the_task_nobody_asks_for_backups(deployment: Deployment) -> None:
    deployment.planned = {}
    deployment.backup(NOW - 99 * DAY)
    assert deployment.told() == []


@pytest.mark.parametrize(
    ("queue", "age", "told"),
    [
        ("work", timedelta(hours=2), []),
        ("work", timedelta(hours=2, minutes=1), ["the queue work has a job that has waited for 2 h"]),
        ("priority", timedelta(minutes=15), []),
        ("priority", timedelta(minutes=16), ["the queue priority has a job that has waited for 16 min"]),
        ("theirs", timedelta(hours=3), ["the queue theirs has a job that has waited for 3 h"]),
    ],
)
def test_jobs_that_wait_too_long_are_told(deployment: Deployment, queue: str, age: timedelta, told: list[str]) -> None:
    deployment.job("pending", queue=queue, created_at=to_ms(NOW - age))
    assert deployment.told() == told


def test_jobs_of_a_paused_type_may_wait(deployment: Deployment) -> None:
    deployment.job("pending", created_at=to_ms(NOW - 99 * DAY))
    deployment.pause("job", "send_email")
    assert deployment.told() == []


def test_dead_jobs_are_told_with_the_latest_reason(deployment: Deployment) -> None:
    deployment.job("dead", ended_at=1, last_error="an old one")
    assert deployment.told() == ["1 job was given up"]
    deployment.job("dead", ended_at=2, last_error="no such address", queue="priority")
    (finding,) = deployment.read().findings
    assert (finding.section, finding.subject, finding.matter) == ("queue", "2 jobs", "were given up")
    assert finding.reason == "send_email: no such address"


def test_what_was_given_up_comes_before_what_will_be_tried_again(deployment: Deployment) -> None:
    deployment.ran("daily_digest", MORNING, "failed")
    deployment.ran("monthly_report", MORNING, "dead")
    deployment.missed("database_backup", MORNING, "no_fire")
    deployment.job("dead", ended_at=1)
    deployment.backup(NOW - 9 * DAY)
    status = deployment.read()
    assert [finding.subject for finding in status.findings] == [
        "monthly_report",
        "database_backup",
        "the newest verified backup",
        "1 job",
        "daily_digest",
    ]
    assert status.headline == "5 things are not well. First: monthly_report was given up on 2 Mar 08:00."


PAUSES: list[tuple[list[tuple[str, str]], str]] = [
    ([("task", "daily_digest")], "All is well, with daily_digest paused."),
    ([("job", "send_email"), ("task", "*")], "All is well, with send_email and every task paused."),
    ([("job", "*")], "All is well, with every job paused."),
    ([("task", name) for name in "abcd"], "All is well, with 4 pauses."),
]


@pytest.mark.parametrize(("pauses", "headline"), PAUSES)
def test_a_pause_is_no_trouble_but_is_told(well: Deployment, pauses: list[Any], headline: str) -> None:
    for kind, name in pauses:
        well.pause(kind, name)
    status = well.read()
    assert (status.is_well, status.headline) == (True, headline)


def test_an_application_that_is_away_is_told_until_it_answers(well: Deployment) -> None:
    for minute in range(3):
        assert well.told() == []
        with well.kit.context().database.begin() as connection:
            now_ms = to_ms(NOW + minute * MINUTE)
            breaker.fail(connection, "APP_JOBS_URL", now_ms=now_ms, reason="it refused ann@example.org")
    (finding,) = well.read().findings
    assert (finding.section, finding.subject) == ("queue", "the application of APP_JOBS_URL")
    assert finding.matter == "has been unavailable since 2 Mar 12:00, and jobs wait for it"
    assert finding.reason == "it refused a***@example.org"
    with well.kit.context().database.begin() as connection:
        breaker.close(connection, "APP_JOBS_URL")
    assert well.told() == []
