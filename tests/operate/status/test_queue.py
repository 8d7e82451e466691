"""The queue as it stands: what is due, in work, later and dead, since when, and why."""

from datetime import UTC, datetime
from typing import Any

import pytest

from chalicelib.core.clock import to_ms
from chalicelib.operate.status.queue import Depth
from tests.operate.status.conftest import HOUR, MINUTE, NOW, Deployment

DUE, LATER = to_ms(NOW - MINUTE), to_ms(NOW + MINUTE)


def depth(deployment: Deployment, queue: str = "work") -> Depth:
    return next(depth for depth in deployment.read().queue.depths if depth.queue == queue)


def test_an_empty_queue_has_nothing(deployment: Deployment) -> None:
    assert deployment.read().queue.depths == (Depth(queue="work"), Depth(queue="priority"))


@pytest.mark.parametrize(
    ("row", "stands"),
    [
        ({"status": "pending"}, "waiting"),
        ({"status": "failed", "due_at": DUE}, "waiting"),
        ({"status": "pending", "due_at": LATER}, "later"),
        ({"status": "failed", "due_at": LATER}, "later"),
        ({"status": "pending", "slot_at": LATER}, "later"),
        ({"status": "claimed"}, "in_work"),
        ({"status": "processing", "due_at": LATER}, "in_work"),
        ({"status": "dead", "due_at": LATER}, "dead"),
    ],
)
def test_a_job_is_counted_where_it_stands(deployment: Deployment, row: dict[str, Any], stands: str) -> None:
    deployment.job(**row)
    found = vars(depth(deployment))
    assert {name: found[name] for name in ("waiting", "held_back", "in_work", "later", "dead") if found[name]} == {
        stands: 1
    }


@pytest.mark.parametrize("status", ["completed", "cancelled", "expired"])
def test_what_is_over_is_not_counted(deployment: Deployment, status: str) -> None:
    deployment.job(status)
    assert depth(deployment) == Depth(queue="work")


def test_what_is_due_of_a_paused_type_is_held_back(deployment: Deployment) -> None:
    deployment.pause("job", "send_email")
    deployment.pause("task", "generate_report")
    deployment.job("pending", created_at=to_ms(NOW - 9 * HOUR))
    deployment.job("pending", due_at=LATER)
    deployment.job("pending", type="generate_report")
    found = depth(deployment)
    assert (found.held_back, found.later, found.waiting) == (1, 1, 1)
    assert found.oldest_due_at == NOW - MINUTE


def test_while_every_job_is_paused_all_that_is_due_is_held_back(deployment: Deployment) -> None:
    deployment.pause("job", "*")
    deployment.job("pending")
    deployment.job("failed", type="generate_report")
    deployment.job("pending", due_at=LATER)
    found = depth(deployment)
    assert (found.held_back, found.later, found.waiting, found.oldest_due_at) == (2, 1, 0, None)


def test_the_oldest_is_counted_from_when_it_was_due(deployment: Deployment) -> None:
    deployment.job("pending", created_at=to_ms(NOW - 9 * HOUR), due_at=to_ms(NOW - 2 * MINUTE))
    deployment.job("pending", created_at=to_ms(NOW - MINUTE), due_at=to_ms(NOW - 9 * HOUR))
    assert depth(deployment).oldest_due_at == NOW - 2 * MINUTE


def test_each_queue_has_its_own_figures_and_one_that_nobody_knows_too(deployment: Deployment) -> None:
    deployment.job("pending", queue="priority")
    deployment.job("pending", queue="theirs")
    found = deployment.read().queue.depths
    assert [(depth.queue, depth.waiting) for depth in found] == [("work", 0), ("priority", 1), ("theirs", 1)]


def test_the_latest_dead_jobs_are_told_with_their_reasons_masked(deployment: Deployment) -> None:
    error = "ann@example.org is unknown, and token=hunter2"
    deployment.job("dead", id="older", ended_at=DUE - 1, last_error=error, attempts=3)
    deployment.job("dead", id="newer", ended_at=DUE)
    first, second = deployment.read().queue.dead
    assert (first.id, first.error) == ("newer", None)
    assert (second.id, second.type, second.attempts) == ("older", "send_email", 3)
    assert second.error == "a***@example.org is unknown, and token=[redacted]"


def test_of_many_dead_jobs_twenty_are_told_and_all_are_counted(deployment: Deployment) -> None:
    for number in range(25):
        deployment.job("dead", ended_at=DUE + number)
    queue = deployment.read().queue
    assert (len(queue.dead), queue.dead_count) == (20, 25)
    assert queue.dead[0].ended_at == datetime.fromtimestamp((DUE + 24) / 1000, UTC)


@pytest.mark.parametrize("moment", [10**17, -(10**17)])
def test_moments_in_another_unit_do_not_hide_the_rest(deployment: Deployment, moment: int) -> None:
    deployment.job("pending", created_at=moment, due_at=min(moment, 0))
    deployment.job("dead", ended_at=moment)
    queue = deployment.read().queue
    assert (queue.depths[0].waiting, queue.dead_count) == (1, 1)
    assert (queue.depths[0].oldest_due_at, queue.dead[0].ended_at) == (None, None)
