"""Cancelling a job: it is closed before it is performed (again), or a sentence says why that is too late."""

from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.core.errors import TransientError
from chalicelib.queue.job import Status
from nightshift.testkit.kit import NOON
from tests.operate.conftest import Desk


@pytest.mark.parametrize("run_at", [None, NOON + timedelta(minutes=1), datetime(2030, 1, 1, tzinfo=UTC)])
def test_a_job_that_waits_is_cancelled_and_never_performed(desk: Desk, run_at: datetime | None) -> None:
    job_id = desk.kit.enqueue("greet", {"name": "Ann"}, run_at=run_at)
    assert desk.ask("cancel", id=job_id) == {"cancelled": [job_id]}
    desk.kit.redeliver(job_id)
    desk.kit.settle()
    desk.kit.clock.advance(4 * 366 * 86_400)
    desk.kit.drain()
    assert (desk.statuses(), desk.done, desk.letters()) == ({job_id: "cancelled"}, [], [])


def test_a_job_that_failed_is_cancelled_and_not_tried_again(desk: Desk) -> None:
    job_id = desk.kit.enqueue("greet", {"name": "Ann"})
    desk.error = TransientError("not now")
    desk.kit.drain()
    desk.ask("cancel", id=job_id)
    desk.kit.clock.advance(3600)
    desk.kit.settle()
    row = desk.kit.job(job_id)
    assert (row.status, row.attempts, len(desk.done)) == ("cancelled", 1, 1)
    assert (row.last_error, row.ended_at) == ("TransientError: not now", 1_772_452_800_000)


@pytest.mark.parametrize("status", [status for status in Status if status not in {"pending", "failed"}])
def test_when_it_is_too_late_to_cancel_a_sentence_says_where_the_job_stands(desk: Desk, status: str) -> None:
    desk.insert(id="one", status=status)
    assert desk.refusal("cancel", id="one") == f"job one is {status}, so it cannot be cancelled"


def test_cancelling_twice_says_that_it_is_cancelled(desk: Desk) -> None:
    job_id = desk.kit.enqueue("greet", {"name": "Ann"})
    desk.ask("cancel", id=job_id)
    assert "is cancelled" in desk.refusal("cancel", id=job_id)
