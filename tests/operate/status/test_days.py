"""Each of the last 30 days of a task is the worst that happened to a fire of it, in UTC."""

from datetime import date, datetime, timedelta, timezone

import pytest

from chalicelib.operate.status.page import summary, title, troubles
from chalicelib.operate.status.tasks import Day
from tests.operate.status.conftest import DAY, HOUR, MINUTE, NOW, Deployment

TODAY = date(2026, 3, 2)
MIDNIGHT = NOW.replace(hour=0)


def days(deployment: Deployment, task: str = "external_sync") -> dict[date, str]:
    return {day.date: day.status for day in deployment.task(task).days}


def test_there_are_thirty_days_the_last_of_them_today(deployment: Deployment) -> None:
    found = list(days(deployment))
    assert found == [TODAY - timedelta(days=ago) for ago in range(29, -1, -1)]
    assert set(days(deployment).values()) == {"none"}


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        (["succeeded", "dead", "failed"], "dead"),
        (["succeeded", "failed", "missed"], "failed"),
        (["succeeded", "missed", "running"], "missed"),
        (["succeeded", "running"], "running"),
        (["skipped", "succeeded", "skipped"], "succeeded"),
        (["skipped"], "skipped"),
    ],
)
def test_a_day_is_its_worst_run(deployment: Deployment, statuses: list[str], worst: str) -> None:
    for number, status in enumerate(statuses):
        deployment.ran("external_sync", MIDNIGHT + number * HOUR, status)
    found = deployment.task("external_sync").days[-1]
    assert found.status == worst
    assert found.counts == {status: statuses.count(status) for status in statuses}


def test_a_run_counts_on_the_day_of_its_fire_whenever_it_was_made(deployment: Deployment) -> None:
    deployment.ran("daily_digest", MIDNIGHT - MINUTE, started_at=0)
    assert days(deployment, "daily_digest")[TODAY - DAY] == "succeeded"
    assert days(deployment, "daily_digest")[TODAY] == "none"


def test_what_is_older_than_the_first_day_is_not_counted(deployment: Deployment) -> None:
    first = MIDNIGHT - 29 * DAY
    deployment.ran("daily_digest", first - MINUTE, "dead")
    deployment.ran("daily_digest", first)
    assert list(days(deployment, "daily_digest").values()) == ["succeeded", *["none"] * 29]


def test_a_task_has_its_own_days_only(deployment: Deployment) -> None:
    deployment.ran("daily_digest", MIDNIGHT, "dead")
    deployment.ran("a_task_that_is_no_more", MIDNIGHT, "dead")
    assert days(deployment)[TODAY] == "none"


def strip(*statuses: str) -> list[Day]:
    """Return days up to today with these statuses, each of one run."""
    counts = [{} if status == "none" else {status: 1} for status in statuses]
    return [
        Day(date=TODAY - timedelta(days=ago), status=status, counts=of)  # type: ignore[arg-type]
        for ago, status, of in zip(range(len(statuses) - 1, -1, -1), statuses, counts, strict=True)
    ]


def test_a_mark_tells_its_day_and_all_that_happened_in_it() -> None:
    assert title(Day(date=TODAY, status="failed", counts={"succeeded": 1095, "failed": 1})) == (
        "Mon 2 Mar: 1 failed, 1,095 succeeded"
    )
    assert title(Day(date=TODAY, status="none", counts={})) == "Mon 2 Mar: no run"


def test_a_strip_is_told_in_one_sentence_to_whoever_cannot_see_it() -> None:
    told = summary(strip("none", "dead", "succeeded", "failed", "succeeded", "failed"), now=NOW)
    assert told == "The last 6 days: dead on 26 Feb; failed on 2 Mar, 28 Feb; 2 days succeeded; 1 day none."


def test_the_latest_bad_days_are_named_and_the_others_counted() -> None:
    assert troubles(strip(*["failed"] * 5, "missed", "succeeded"), now=NOW) == (
        "failed on 28 Feb, 27 Feb, 26 Feb and 2 more; missed on 1 Mar"
    )
    assert troubles(strip("succeeded", "none", "skipped", "running"), now=NOW) == ""


def test_a_day_of_another_year_is_named_with_it() -> None:
    january = datetime(2027, 1, 1, 3, tzinfo=timezone(timedelta(hours=9)))
    assert "missed on 2 Mar" in troubles(strip("missed"), now=january)
    assert "missed on 2 Mar 2026" in troubles(strip("missed"), now=NOW.replace(year=2027))
