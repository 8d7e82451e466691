"""What a snapshot has listed: kept small, handed to the next invocation, and compared with many rows."""

from typing import Any

import pytest

from chalicelib.core.clock import from_ms, iso
from chalicelib.core.errors import PermanentError, TransientError
from chalicelib.queue.services import payloads
from chalicelib.schema import runs
from chalicelib.tasks.external_sync import state
from chalicelib.tasks.external_sync.pages import Cursors
from chalicelib.tasks.external_sync.state import SeenIds
from tests.tasks.external_sync.deployment import Deployment
from tests.tasks.external_sync.upstream import Asked, Reply


def test_seen_ids_survive_storing_and_restoring(lite: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "IDS_PER_PAYLOAD", 400)
    ids = [f"id-{n}" for n in range(1000)]
    first, second = SeenIds(), SeenIds()
    first.add(ids)
    first.add(ids[:10])
    pointers = first.store(payloads(lite.context()))
    second.restore(payloads(lite.context()), pointers)
    assert (len(pointers), len(first), len(second)) == (3, 1000, 1000)
    assert all(id_ in second for id_ in ids)
    assert "id-1000" not in second


def test_a_million_ids_go_into_one_payload() -> None:
    assert state.IDS_PER_PAYLOAD * 8 * 4 / 3 < 16 * 1024 * 1024


def test_snapshot_without_its_stored_ids_starts_over(lite: Deployment) -> None:
    lite.declare(pages=Cursors(), is_snapshot=True)
    items = [{"id": str(n)} for n in range(6)]
    lite.upstream.pages(items)
    lite.fire()
    lite.upstream.pages(items[:2], items[2:5])
    whole = lite.upstream.answer

    def slow(asked: Asked) -> Reply:
        lite.kit.clock.advance(100)
        return whole(asked)

    lite.upstream.answer = slow
    assert lite.fire(seconds=150)["continues"] is True
    moment = iso(from_ms(max(run.scheduled_for for run in lite.rows(runs))))
    lite.kit.s3.objects.clear()
    lite.kit.sqs.queues.clear()
    lite.upstream.answer = whole
    with pytest.raises(Exception, match="does not exist"):
        lite.again(scheduled_for=moment)
    assert lite.missing() == []
    lite.fire()
    assert lite.missing() == ["5"]


def test_missing_rows_are_found_among_many(deployment: Deployment) -> None:
    def row(n: int, **values: Any) -> dict[str, Any]:
        return {"id": f"row-{n:05}", "external_id": str(n), "data": "{}", "synced_at": 5, "source": "shop"} | values

    deployment.insert(*(row(n) for n in range(2500)))
    deployment.insert(row(3000, source="other"), row(3001, synced_at=11))
    deployment.insert(row(3002, missing_since=1))
    listed = SeenIds()
    listed.add(str(n) for n in range(2500) if n not in {0, 999, 1000, 2499})
    database = deployment.context().database
    found = state.find_missing(database, "shop", listed, since=10, allowed=4)
    assert found == ["row-00000", "row-00999", "row-01000", "row-02499"]
    assert state.count_present(database, "shop") == 2501
    with pytest.raises(TransientError, match="lacks at least 4 items"):
        state.find_missing(database, "shop", listed, since=10, allowed=3.9)
    state.mark_missing(database, found, since=10, lock_state=lambda connection: None)
    assert deployment.missing() == ["0", "1000", "2499", "3002", "999"]

    def hold(_: Any) -> None:
        raise PermanentError("taken over")

    with pytest.raises(PermanentError):
        state.mark_missing(database, ["row-00001"], since=10, lock_state=hold)
    assert "1" not in deployment.missing()
