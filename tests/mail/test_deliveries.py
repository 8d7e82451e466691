"""Moves of many deliveries: each is claimed by one caller, and moves only from the expected status."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import insert, select

from chalicelib.core.clock import SystemClock
from chalicelib.core.database import Database
from chalicelib.core.engine import engine_for
from chalicelib.mail.ledger import Deliveries, Status
from chalicelib.schema import deliveries
from nightshift.testkit.kit import Kit
from tests.mail.lost_commit import lose_one_answer

DAY = "2026-03-01"
IDS = [f"user-{number:02}" for number in range(12)]

Rows = Callable[[], dict[str, Any]]


@pytest.fixture
def ledger(database_url: str) -> Deliveries:
    """A day of twelve pending deliveries, and another day of the same users."""
    kit = Kit(database_url)
    rows = [
        {"digest_day": day, "user_id": user_id, "status": "pending"} for day in (DAY, "2026-02-28") for user_id in IDS
    ]
    kit.context().database.transact(lambda connection: connection.execute(insert(deliveries), rows) and None)
    return Deliveries(kit.context().database, kit.clock, day=DAY)


@pytest.fixture
def rows(database_url: str) -> Rows:
    """Return the day's rows by user id."""

    def read() -> dict[str, Any]:
        query = select(deliveries).where(deliveries.c.digest_day == DAY)
        with engine_for(database_url).connect() as connection:
            return {row.user_id: row for row in connection.execute(query)}

    return read


@pytest.mark.parametrize("wanted", [IDS[:1], IDS[:5]])
def test_claim_moves_pending_deliveries_to_sending(ledger: Deliveries, rows: Rows, wanted: list[str]) -> None:
    assert ledger.claim(wanted) == set(wanted)
    assert {user_id for user_id, row in rows().items() if row.status == "sending"} == set(wanted)
    assert {row.claimed_at is None for user_id, row in rows().items() if user_id in wanted} == {False}
    assert ledger.claim(wanted) == set()


def test_claim_returns_only_pending_deliveries(ledger: Deliveries) -> None:
    ledger.claim(IDS[2:4])
    ledger.move(IDS[4:5], before=Status.PENDING, after=Status.WITHDRAWN)
    assert ledger.claim([*IDS[:6], "nobody"]) == {*IDS[:2], IDS[5]}


@pytest.mark.parametrize("wanted", [IDS[:1], IDS[:5]])
def test_claim_survives_lost_answer(
    ledger: Deliveries, rows: Rows, database_url: str, monkeypatch: pytest.MonkeyPatch, wanted: list[str]
) -> None:
    ledger.claim(wanted[1:2])
    lose_one_answer(Kit(database_url).context().database.engine, monkeypatch)
    assert ledger.claim(wanted) == {*wanted} - {*wanted[1:2]}
    assert {user_id for user_id, row in rows().items() if row.status == "sending"} == set(wanted)


def test_concurrent_claims_never_share_a_row(ledger: Deliveries, database_url: str) -> None:
    barrier = Barrier(4)

    def claim(seed: int) -> list[frozenset[str]]:
        chance = random.Random(seed)
        own = Deliveries(Database(engine_for(database_url), SystemClock()), SystemClock(), day=DAY)
        barrier.wait(10)
        return [own.claim(chance.sample(IDS, chance.randint(1, 9))) for _ in range(20)]

    with ThreadPoolExecutor(4) as threads:
        claimed = [user_id for claims in threads.map(claim, range(4)) for ids in claims for user_id in ids]
    assert sorted(claimed) == IDS


def test_each_delivery_has_its_own_id_or_error(ledger: Deliveries, rows: Rows) -> None:
    ledger.claim(IDS[:4])
    sent, refused = {IDS[0]: "ses-0", IDS[1]: "ses-1"}, {IDS[2]: "two", IDS[3]: "3" * 600}
    assert ledger.move(sent, before=Status.SENDING, after=Status.SENT, provider_ids=sent) == 2
    assert ledger.move(refused, before=Status.SENDING, after=Status.REFUSED, errors=refused) == 2
    found = [(row.status, row.provider_id, row.error) for _, row in sorted(rows().items())][:5]
    assert found == [
        ("sent", "ses-0", None),
        ("sent", "ses-1", None),
        ("refused", None, "two"),
        ("refused", None, "3" * 500),
        ("pending", None, None),
    ]
    assert {row.settled_at is None for user_id, row in rows().items() if user_id in IDS[:4]} == {False}


def test_move_back_to_pending_clears_end_and_skips_other_statuses(ledger: Deliveries, rows: Rows) -> None:
    ledger.claim(IDS[:2])
    assert ledger.move(IDS[:3], before=Status.SENDING, after=Status.PENDING) == 2
    assert {(row.status, row.settled_at) for row in rows().values()} == {("pending", None)}


def test_other_days_deliveries_do_not_move(ledger: Deliveries, database_url: str) -> None:
    ledger.claim(IDS)
    other = Deliveries(Database(engine_for(database_url), SystemClock()), SystemClock(), day="2026-02-28")
    assert other.count_by_status() == {"pending": 12}
