"""How the server carries the statements of a chunk out: by an index, and over no more rows than the chunk has."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, create_engine, event, insert, text

from chalicelib.application import email_verification_tokens, password_reset_tokens, sessions, users
from chalicelib.schema import deliveries
from chalicelib.tasks.database_cleanup import rules
from tests.servers import on_each_server
from tests.tasks.database_cleanup.samples import ago, clean, new_id, use
from tests.world import World

ROWS, CHUNK = 6000, 400
Plan = tuple[str, list[Any]]


@contextmanager
def explained(world: World) -> Iterator[list[Plan]]:
    """Give the statements on rows, each with how the server would carry it out just then."""
    plans: list[Plan] = []
    engine = world.context().database.engine
    other = create_engine(engine.url)

    def explain(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        counts = statement.startswith("SELECT count")
        if statement.startswith(("SELECT", "DELETE")) and " runs" not in statement and not counts:
            with other.connect() as connection:
                rows = connection.exec_driver_sql(f"EXPLAIN FORMAT=TRADITIONAL {statement}", parameters).all()
            plans.append((statement, list(rows)))

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", explain)
        other.dispose()


def fill(world: World, table: Table, rows: list[dict[str, Any]]) -> None:
    for start in range(0, len(rows), 1000):
        world.execute(insert(table), rows[start : start + 1000])
    world.execute(text(f"ANALYZE TABLE {table.name}"))


def sessions_of(user_ids: list[str], *, days: int) -> list[dict[str, Any]]:
    at = ago(days=days)
    return [{"id": new_id(), "user_id": user_id, "created_at": at, "updated_at": at} for user_id in user_ids]


def check(plans: list[Plan], *, at_least: int) -> None:
    assert len(plans) >= at_least
    for statement, steps in plans:
        for step in steps:
            assert "filesort" not in (step.Extra or ""), (statement, steps)
            # "index" is the walk along the primary key that ends after so many rows.
            assert step.type in {"range", "ref", "eq_ref", "const", "index"}, (statement, steps)
            assert step.type != "index" or step.key == "PRIMARY", (statement, steps)
            if "LIMIT" in statement:
                assert step.key == "PRIMARY", (statement, steps)
            else:
                assert int(step.rows) <= 2 * CHUNK, (statement, steps)


def rows_read(world: World) -> int:
    """Return how many rows the server has read so far."""
    status = world.execute(text("SHOW GLOBAL STATUS LIKE 'Handler_read%'"))
    return sum(int(value) for name, value in status if name.endswith(("first", "key", "next", "rnd_next")))


def use_only(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    (rule,) = (rule for rule in rules.RULES if rule.name == name)
    use(monkeypatch, replace(rule, **{"chunk": CHUNK, "max_share": 1} | changes))


@on_each_server
@pytest.mark.parametrize("is_archived", [False, True])
def test_sessions_go_by_ranges_of_the_primary_key(
    world: World, monkeypatch: pytest.MonkeyPatch, is_archived: bool
) -> None:
    use_only(monkeypatch, "sessions", archive=is_archived)
    fill(world, sessions, sessions_of(["u"] * ROWS, days=31) + sessions_of(["u"] * ROWS, days=1))
    with explained(world) as plans:
        assert clean(world)["succeeded"] == ROWS
    check(plans, at_least=2 * ROWS // CHUNK)


@on_each_server
def test_a_few_sessions_are_found_by_ranges_of_the_primary_key_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_only(monkeypatch, "sessions", archive=True)
    fill(world, sessions, sessions_of(["u"] * 20, days=31) + sessions_of(["u"] * ROWS, days=1))
    with explained(world) as plans:
        assert clean(world)["succeeded"] == 20
    check(plans, at_least=2 * ROWS // CHUNK)


@on_each_server
def test_each_row_is_read_a_few_times_however_many_chunks_there_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_only(monkeypatch, "sessions")
    fill(world, sessions, sessions_of(["u"] * ROWS, days=31) + sessions_of(["u"] * ROWS, days=1))
    before = rows_read(world)
    assert clean(world)["succeeded"] == ROWS
    assert rows_read(world) - before < 5 * 2 * ROWS


@on_each_server
@pytest.mark.parametrize("is_archived", [False, True])
def test_users_go_by_their_keys_and_what_hangs_on_them_by_its_indexes(
    world: World, monkeypatch: pytest.MonkeyPatch, is_archived: bool
) -> None:
    # Of a table that is not much larger than the chunk, MariaDB rather reads all.
    use_only(monkeypatch, "unverified_users", archive=is_archived, chunk=100)
    gone = world.add_users(1500, prefix="gone", is_verified=False, created_at=ago(days=8))
    kept = world.add_users(1500, prefix="kept", created_at=ago(days=8))
    world.execute(text(f"ANALYZE TABLE {users.name}"))
    fill(world, sessions, sessions_of(gone + kept, days=1))
    token = {"created_at": 1, "expires_at": ago(days=-1)}
    tokens = [{"id": new_id(), "user_id": id_, "token": new_id(), **token} for id_ in gone + kept]
    fill(world, email_verification_tokens, tokens)
    addresses = [f"{prefix}{n}@example.com" for prefix in ("gone", "kept") for n in range(1500)]
    resets = [{"id": new_id(), "email": email, "token": new_id(), **token} for email in addresses]
    fill(world, password_reset_tokens, resets)
    with explained(world) as plans:
        assert clean(world)["succeeded"] == 1500
    check(plans, at_least=5 * 1500 // 100)


@on_each_server
@pytest.mark.parametrize("is_archived", [False, True])
def test_a_primary_key_of_two_columns_is_walked_as_well(
    world: World, monkeypatch: pytest.MonkeyPatch, is_archived: bool
) -> None:
    use_only(monkeypatch, "deliveries", archive=is_archived, keep=timedelta(days=2), chunk=100)
    rows = [
        {"digest_day": f"2016-08-0{n % 4 + 1}", "user_id": new_id(), "status": "sent", "settled_at": ago(days=n % 4)}
        for n in range(ROWS)
    ]
    fill(world, deliveries, rows)
    with explained(world) as plans:
        assert clean(world)["succeeded"] == ROWS // 4
    check(plans, at_least=2 * ROWS // 100)
