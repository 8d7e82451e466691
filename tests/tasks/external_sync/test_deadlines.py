"""A run near its deadline: handed on, continued, and given up where without a Location."""

import pytest

from chalicelib.core.errors import RunFailedError
from chalicelib.schema import runs as runs_table
from chalicelib.tasks.external_sync.pages import Cursors
from tests.tasks.external_sync.deployment import ITEMS, Deployment
from tests.tasks.external_sync.upstream import Asked, Reply


@pytest.mark.parametrize("is_snapshot", [False, True])
def test_run_near_deadline_continues_where_it_stopped(deployment: Deployment, is_snapshot: bool) -> None:
    deployment.declare(pages=Cursors(), is_snapshot=is_snapshot)
    deployment.upstream.serve({"items": [{"id": "gone"}, *ITEMS]})
    deployment.fire()
    deployment.upstream.asked.clear()
    deployment.upstream.pages(ITEMS[:2], [*ITEMS[2:4], {"id": "6"}], [*ITEMS[4:], {"id": "7"}])
    whole = deployment.upstream.answer

    def slow(asked: Asked) -> Reply:
        deployment.kit.clock.advance(100)
        return whole(asked)

    deployment.upstream.answer = slow
    assert deployment.fire(seconds=250)["continues"] is True
    assert "7" not in deployment.data()
    deployment.kit.drain()
    latest = max(deployment.rows(runs_table), key=lambda row: row.scheduled_for)
    assert (latest.status, latest.total, latest.succeeded, latest.skipped) == ("succeeded", 7, 2, 5)
    assert [asked.query.get("cursor") for asked in deployment.upstream.asked] == [None, "1", "2", "2"]
    assert deployment.missing() == (["gone"] if is_snapshot else [])
    assert {"6", "7"} <= deployment.data().keys()


def test_run_without_time_is_continued_untouched(lite: Deployment) -> None:
    lite.upstream.serve(ITEMS)
    assert lite.fire(seconds=9)["continues"] is True
    assert lite.upstream.asked == []
    lite.kit.drain()
    assert len(lite.data()) == 5


def test_response_too_slow_for_any_invocation_fails_the_run(lite: Deployment) -> None:
    lite.upstream.serve(ITEMS)
    for _ in range(3):
        assert lite.again(seconds=9)["continues"] is True
    with pytest.raises(RunFailedError, match="one response takes longer than an invocation may"):
        lite.again(seconds=9)


def test_options_hold_for_continuations_and_full_refresh_happens_once(lite: Deployment) -> None:
    lite.declare(pages=Cursors(), is_snapshot=True)
    lite.upstream.pages(ITEMS)
    lite.fire()
    lite.upstream.pages(ITEMS[:1], [])
    whole = lite.upstream.answer

    def slow(asked: Asked) -> Reply:
        lite.kit.clock.advance(100)
        return whole(asked)

    lite.upstream.asked.clear()
    lite.upstream.answer = slow
    assert lite.fire(seconds=150, accept_loss="shop", full_refresh="shop")["continues"] is True
    lite.kit.drain()
    assert [asked.query.get("cursor") for asked in lite.upstream.asked] == [None, "1", "1"]
    assert lite.missing() == ["2", "3", "4", "5"]
