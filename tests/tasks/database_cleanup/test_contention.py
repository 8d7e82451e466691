"""Rows that others hold or refer to: they are left, waited for a little, or counted, and never hold up the rest."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, text, update

from chalicelib.application import password_reset_tokens, sessions, users
from chalicelib.core.errors import RunFailedError
from chalicelib.tasks.database_cleanup.rules import Rule
from tests.servers import SERVERS, on_each_server
from tests.sweep import IS_SWEEP
from tests.tasks.database_cleanup.samples import (
    add_reset_token,
    add_sessions,
    after_statement,
    ago,
    clean,
    ids_in,
    lines_of,
    use,
)
from tests.world import World

Log = Callable[[], list[dict[str, Any]]]


@contextmanager
def somebody(world: World) -> Iterator[Connection]:
    """A connection of the application's own."""
    engine = create_engine(world.environment["DATABASE_URL"])
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@pytest.fixture
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chalicelib.tasks.database_cleanup.throttle.LOCK_WAIT_SECONDS", 0)
    monkeypatch.setattr("chalicelib.core.database.TRANSACTION_ATTEMPTS", 1)


@pytest.fixture
def _orders(world: World) -> Iterator[None]:
    """A table of the application's that refers to users and that no rule knows."""
    on = "" if world.context().database.engine.dialect.name == "sqlite" else "CHARACTER SET utf8mb4"
    reference = "user_id CHAR(36) NOT NULL REFERENCES users (id)"
    world.execute(text(f"CREATE TABLE orders (id INTEGER PRIMARY KEY, {reference}) {on}"))
    yield
    world.execute(text("DROP TABLE orders"))


@on_each_server
def test_a_user_whom_somebody_is_changing_is_left_for_another_day(world: World) -> None:
    held, _, _ = world.add_users(3, is_verified=False, created_at=ago(days=8))
    with somebody(world) as connection:
        connection.execute(update(users).where(users.c.id == held).values(name="changing"))
        summary = clean(world)
        connection.rollback()
    assert (summary["outcome"], summary["succeeded"], summary["skipped"]) == ("succeeded", 2, 1)
    assert ids_in(world, users) == [held]
    assert world.clock.slept == []


@on_each_server
@pytest.mark.parametrize("dependents", [{}, {sessions.c.user_id: users.c.id}], ids=["alone", "with sessions"])
def test_a_user_who_verifies_between_the_look_and_the_deletion_stays(
    world: World, monkeypatch: pytest.MonkeyPatch, dependents: Any
) -> None:
    where = users.c.is_verified.is_(False)
    use(monkeypatch, Rule(name="users", timestamp=users.c.created_at, where=where, dependents=dependents))
    stays, _ = world.add_users(2, is_verified=False, created_at=ago(days=8))

    def verify() -> None:
        with somebody(world) as connection:
            connection.execute(update(users).where(users.c.id == stays).values(is_verified=True))
            connection.commit()

    # What ends the look at the table and is followed by nothing but what deletes, in the same transaction.
    last_look = "SELECT users.id \nFROM users FORCE INDEX"
    with after_statement(world, last_look, verify) as looks:
        summary = clean(world)
    assert looks
    assert (summary["succeeded"], summary["skipped"]) == (1, 1)
    assert ids_in(world, users) == [stays]


def test_a_chunk_is_undone_when_its_rows_are_not_due_any_more_as_they_are_deleted(world: World) -> None:
    ids = world.add_users(2, is_verified=False, created_at=ago(days=8))
    add_sessions(world, 1, days=1, user_id=ids[0])
    engine = world.context().database.engine
    done: list[int] = []

    # In our own transaction, since InnoDB lets nobody else do so; what is rolled back is due again.
    def verify(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM users") and not done:
            verified = update(users).where(users.c.id == ids[0]).values(is_verified=True)
            done.append(connection.execute(verified).rowcount)

    event.listen(engine, "before_cursor_execute", verify)
    try:
        assert clean(world)["succeeded"] == 2
    finally:
        event.remove(engine, "before_cursor_execute", verify)
    assert (done, world.clock.slept) == ([1], [1])


@on_each_server
def test_a_user_who_verifies_while_being_deleted_is_told_that_there_is_none(world: World) -> None:
    (gone,) = world.add_users(1, is_verified=False, created_at=ago(days=8))
    changed: list[int] = []

    def verify() -> None:
        with somebody(world) as connection:
            changed.append(
                connection.execute(update(users).where(users.c.id == gone).values(is_verified=True)).rowcount
            )
            connection.commit()

    visitor = threading.Thread(target=verify)
    begun: list[str] = []

    def begin(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM sessions WHERE sessions.user_id") and not begun:
            begun.append(statement)
            visitor.start()

    engine = world.context().database.engine
    event.listen(engine, "before_cursor_execute", begin)
    try:
        clean(world)
    finally:
        event.remove(engine, "before_cursor_execute", begin)
    visitor.join()
    assert (changed, ids_in(world, users)) == ([0], [])


@on_each_server
@pytest.mark.usefixtures("_no_patience")
def test_a_chunk_that_meets_a_lock_is_tried_again_smaller_after_a_pause(
    world: World, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_sessions(world, 5, days=31)
    with somebody(world) as connection:
        connection.execute(update(sessions).where(sessions.c.id == "s00003").values(user_agent="held"))
        sleep = world.clock.sleep

        def let_go_in_the_second_pause(seconds: float) -> None:
            sleep(seconds)
            if seconds == 2:
                connection.rollback()

        monkeypatch.setattr(world.clock, "sleep", let_go_in_the_second_pause)
        assert clean(world, rules=["sessions"])["succeeded"] == 5
    pauses = [line for line in log() if line.get("message") == "cleanup paused"]
    assert [(line["seconds"], line["rows"]) for line in pauses] == [(1, 500), (2, 300)]
    # Each pause follows a try: our own waiting is not taken for that of others.
    assert ["Lock wait timeout exceeded" in line["reason"] for line in pauses] == [True, True]


# MySQL waits a second at least each time.
@pytest.mark.parametrize("database_url", SERVERS if IS_SWEEP else ["mariadb"], indirect=True)
@pytest.mark.usefixtures("_no_patience")
def test_a_lock_that_is_never_let_go_fails_the_rule_and_no_other(world: World) -> None:
    add_sessions(world, 5, days=31)
    add_reset_token(world, "expired", expires_at=ago(days=1))
    with somebody(world) as connection:
        connection.execute(update(sessions).where(sessions.c.id == "s00003").values(user_agent="held"))
        with pytest.raises(RunFailedError, match=r"sessions failed: given up after 7 pauses: .*Lock wait timeout"):
            clean(world)
    assert [seconds for seconds in world.clock.slept if seconds >= 1] == [1, 2, 4, 8, 16, 32, 64]
    assert len(ids_in(world, sessions)) == 5
    assert ids_in(world, password_reset_tokens) == []


@on_each_server
@pytest.mark.usefixtures("_no_patience")
def test_near_its_deadline_a_run_hands_on_instead_of_pausing(world: World) -> None:
    add_sessions(world, 5, days=31)
    with somebody(world) as connection:
        connection.execute(update(sessions).where(sessions.c.id == "s00003").values(user_agent="held"))
        assert clean(world, seconds=16)["continues"] is True
        assert sum(world.clock.slept) < 6
    world.drain()
    assert (world.run().status, ids_in(world, sessions)) == ("succeeded", [])


@on_each_server
def test_lock_timeout_is_short_for_the_cleanup_only(world: World) -> None:
    patience: list[int] = []

    def look(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE"):
            cursor.execute("SELECT @@innodb_lock_wait_timeout")
            patience.append(cursor.fetchone()[0])

    engine = world.context().database.engine
    event.listen(engine, "before_cursor_execute", look)
    try:
        clean(world)
    finally:
        event.remove(engine, "before_cursor_execute", look)
    assert set(patience) == {1}
    assert world.execute(text("SELECT @@innodb_lock_wait_timeout"))[0][0] == 50


@pytest.mark.usefixtures("_orders")
def test_referenced_user_stays_and_does_not_stop_others(world: World, log: Log) -> None:
    ids = world.add_users(40, is_verified=False, created_at=ago(days=8))
    kept = [ids[3], ids[17]]
    for n, user_id in enumerate(kept):
        world.execute(text(f"INSERT INTO orders VALUES ({n}, '{user_id}')"))
    for n, user_id in enumerate(ids):
        add_sessions(world, 1, days=1, user_id=user_id, prefix=f"{n:02}")
    summary = clean(world)
    assert ids_in(world, users) == kept
    assert ids_in(world, sessions) == ["0300000", "1700000"]
    assert (summary["outcome"], summary["total"], summary["succeeded"], summary["failed"]) == ("succeeded", 40, 38, 2)
    lines = lines_of(log(), "ERROR")
    assert [(line["message"], line["rule"], line["id"]) for line in lines] == [
        ("row cannot be deleted", "unverified_users", id_) for id_ in kept
    ]


@pytest.mark.usefixtures("_orders")
@pytest.mark.parametrize("is_archived", [False, True])
def test_the_same_holds_for_a_rule_without_dependents(
    world: World, monkeypatch: pytest.MonkeyPatch, is_archived: bool
) -> None:
    use(monkeypatch, Rule(name="users", timestamp=users.c.created_at, keep=timedelta(days=7), archive=is_archived))
    ids = world.add_users(20, created_at=ago(days=8))
    world.execute(text(f"INSERT INTO orders VALUES (1, '{ids[-1]}')"))
    summary = clean(world)
    assert ids_in(world, users) == [ids[-1]]
    assert (summary["succeeded"], summary["failed"]) == (19, 1)
