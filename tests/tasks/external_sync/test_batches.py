"""Taking batches while others write the same rows: what was read later stays, and nothing is written twice."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import event, insert, select

from chalicelib.core.database import Database
from chalicelib.core.engine import engine_for
from chalicelib.core.outcome import Counts
from chalicelib.schema import external_data
from chalicelib.tasks.external_sync import storage
from chalicelib.tasks.external_sync.storage import BatchWriter
from tests.tasks.external_sync.deployment import Deployment

OLD, NEW = b'{"id": "1", "v": "old"}', b'{"id": "1", "v": "new"}'


def intake(deployment: Deployment, **declared: Any) -> BatchWriter:
    return BatchWriter(deployment.context().database, deployment.source(**declared), is_dry_run=False)


def test_later_request_wins_even_if_written_first(deployment: Deployment) -> None:
    taken = intake(deployment).write([NEW], requested_at=2000, now_ms=2000)
    late = intake(deployment).write([OLD], requested_at=1000, now_ms=3000)
    assert (taken.counts, late.counts) == (Counts(total=1, succeeded=1), Counts(total=1, skipped=1))
    assert (deployment.data()["1"]["v"], deployment.rows()[0].synced_at) == ("new", 2000)


def test_later_change_by_the_sources_clock_wins(
    deployment: Deployment,
) -> None:
    declared = {"changed_field": "at", "changed_unit": "ms"}
    intake(deployment, **declared).write([b'{"id": "1", "at": 5}'], requested_at=2000, now_ms=2000)
    taken = intake(deployment, **declared).write([b'{"id": "1", "at": 6}'], requested_at=1000, now_ms=3000)
    assert (taken.counts.succeeded, deployment.rows()[0].changed_at) == (1, 6)


@pytest.mark.parametrize("requested_at", [1000, 3000])
@pytest.mark.parametrize("moment", ["known_hashes", "find"])
def test_concurrent_insert_is_resolved_by_the_later_request(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, moment: str, requested_at: int
) -> None:
    if deployment.context().database.engine.dialect.name == "sqlite" and moment == "find":
        pytest.skip("SQLite lets nobody write between two statements of a transaction")
    look = getattr(storage, moment)

    def look_and_be_overtaken(connection: Any, ids: Any, **options: Any) -> Any:
        found = look(connection, ids, **options)
        if "1" in ids and not overtaken:
            overtaken.append(True)
            if moment == "known_hashes":
                connection.commit()
            rival = {"id": "rival", "external_id": "1", "data": "{}", "synced_at": 2000, "source": "shop"}
            with engine_for(deployment.kit.environment["DATABASE_URL"], ca="off").begin() as other:
                other.execute(insert(external_data), rival)
        return found

    overtaken: list[bool] = []
    mine = intake(deployment)
    if moment == "find":
        # With one that is known, the others are looked for before they are inserted.
        mine.write([b'{"id": "2"}'], requested_at=1, now_ms=1)
    monkeypatch.setattr(storage, moment, look_and_be_overtaken)
    taken = mine.write([NEW, b'{"id": "2"}'], requested_at=requested_at, now_ms=requested_at)
    assert overtaken == [True]
    first, second = deployment.rows()
    assert (first.id, first.data) == ("rival", "{}" if requested_at == 1000 else NEW.decode())
    assert (second.external_id, taken.refused) == ("2", [])
    assert taken.counts.succeeded == (moment == "known_hashes") + (requested_at == 3000)


def test_many_runs_at_once_leave_the_latest_state_of_every_item(deployment: Deployment) -> None:
    def run(requested_at: int) -> None:
        items = [b'{"id": "%d", "at": %d}' % (n, requested_at) for n in range(300)]
        order = items if requested_at % 2 else items[::-1]
        database = Database(engine_for(url, ca="off"), deployment.kit.clock)
        mine = BatchWriter(database, deployment.source(), is_dry_run=False)
        try:
            for start in range(0, 300, 60):
                mine.write(order[start : start + 60], requested_at=requested_at, now_ms=requested_at)
        except Exception as error:
            failed.append(error)
            raise

    url = deployment.kit.environment["DATABASE_URL"]
    failed: list[Exception] = []
    threads = [threading.Thread(target=run, args=(requested_at,)) for requested_at in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [item["at"] for item in deployment.data().values()] == [4] * 300


@contextmanager
def noted(deployment: Deployment) -> Iterator[list[str]]:
    """Give the first word of each statement that is made."""
    engine = deployment.context().database.engine
    words: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        words.append(statement.split()[0])

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield words
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_an_unchanged_batch_costs_one_select(deployment: Deployment) -> None:
    items = [b'{"id": "%d"}' % n for n in range(1000)]
    intake(deployment).write(items, requested_at=1, now_ms=1)
    mine = intake(deployment)
    with noted(deployment) as words:
        for half in (items[:500], items[500:]):
            assert mine.write(half, requested_at=2, now_ms=2).counts == Counts(total=500, skipped=500)
    assert words == ["SELECT", "SELECT"]


def test_batch_after_an_all_new_batch_costs_one_insert(deployment: Deployment) -> None:
    mine = intake(deployment)
    mine.write([b'{"id": "%d"}' % n for n in range(1000)], requested_at=1, now_ms=1)
    with noted(deployment) as words:
        taken = mine.write([b'{"id": "%d"}' % n for n in range(1000, 2000)], requested_at=1, now_ms=1)
    assert taken.counts == Counts(total=1000, succeeded=1000)
    assert words == ["BEGIN", "INSERT"]


def test_known_items_after_an_all_new_batch_are_found(deployment: Deployment) -> None:
    intake(deployment).write([b'{"id": "same", "v": 1}', b'{"id": "changes", "v": 1}'], requested_at=1, now_ms=1)
    fit_once = intake(deployment, valid=refuse_the_first_version)
    fit_once.write([b'{"id": "other", "v": 2}'], requested_at=2, now_ms=2)
    items = [
        b'{"id": "same", "v": 1}',
        b'{"id": "changes", "v": 2}',
        b'{"id": "new", "v": 2}',
        b'{"id": "bad", "v": 1}',
    ]
    taken = fit_once.write(items, requested_at=2, now_ms=2)
    assert (taken.counts, taken.inserted) == (Counts(total=4, succeeded=2, failed=1, skipped=1), 1)
    assert {id_: item["v"] for id_, item in deployment.data().items()} == {
        "changes": 2,
        "new": 2,
        "other": 2,
        "same": 1,
    }
    assert list(deployment.reasons()) == ["bad"]


def refuse_the_first_version(item: Any) -> None:
    if item["v"] == 1:
        raise ValueError("it is the first version")


def test_a_row_whose_own_id_looks_like_sql_is_overwritten_and_keeps_it(deployment: Deployment) -> None:
    id_ = "\\' OR ''='"
    deployment.insert({"id": id_, "external_id": "1", "data": "{}", "synced_at": 1, "source": "", "missing_since": 1})
    intake(deployment).write([NEW, b'{"id": "2"}'], requested_at=2, now_ms=2)
    first, second = deployment.rows()
    assert (first.id, first.data, first.source, first.synced_at) == (id_, NEW.decode(), "shop", 2)
    assert (first.content_hash, first.missing_since) == (sha256(NEW).hexdigest(), None)
    assert (second.external_id, second.data) == ("2", '{"id": "2"}')


def test_a_row_longer_than_a_usual_packet_is_written(deployment: Deployment) -> None:
    text = "\\\\ü'" * 200_000
    taken = intake(deployment).write([b'{"id": "1", "x": "%b"}' % text.encode()] * 3, requested_at=1, now_ms=1)
    assert taken.counts.succeeded == 1
    query = select(external_data.c.data)
    assert deployment.transact(lambda c: c.execute(query).scalar_one()) == f'{{"id": "1", "x": "{text}"}}'
