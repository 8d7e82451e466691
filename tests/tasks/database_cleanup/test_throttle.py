"""The throttle: chunks that take as long as they may, and pauses when replicas or other connections suffer."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text

from chalicelib.application import sessions
from chalicelib.core.clock import SystemClock
from chalicelib.core.database import Database
from chalicelib.core.errors import OutOfTimeError, RunFailedError, TransientError
from chalicelib.tasks.database_cleanup.throttle import (
    CHUNK_MS,
    FIRST_ROWS,
    MAX_LAG_SECONDS,
    MIN_ROWS,
    ServerLoad,
    Throttle,
)
from tests.servers import REPLICATION, on_a_server
from tests.tasks.database_cleanup.samples import add_sessions, clean, ids_in
from tests.world import World


class Server(ServerLoad):
    """A server that shows what a test says, from one look to the next; at last nothing."""

    def __init__(self, *, behind: list[int] | None = None, lock_ms: list[int] | None = None) -> None:
        self._behind = iter(behind or [])
        self._lock_waits = iter(lock_ms or [])

    def lag_seconds(self) -> int:
        return next(self._behind, 0)

    def lock_wait_ms(self) -> int:
        return next(self._lock_waits, 0)


def throttle_of(
    world: World, server: ServerLoad | None = None, *, max_rows: int = 3000, seconds: float = 300
) -> Throttle:
    return Throttle(world.context(seconds=seconds), server or Server(), max_rows=max_rows)


def test_chunks_grow_while_they_are_quick_up_to_what_the_rule_says(world: World) -> None:
    throttle = throttle_of(world)
    sizes = [throttle.rows]
    for _ in range(4):
        throttle.adapt(0)
        sizes.append(throttle.rows)
    assert sizes == [FIRST_ROWS, 1500, 2250, 3000, 3000]


def test_chunks_shrink_while_they_are_slow_down_to_a_least(world: World) -> None:
    throttle = throttle_of(world)
    sizes = []
    for _ in range(3):
        throttle.adapt(1000)
        sizes.append(throttle.rows)
    assert sizes == [500, MIN_ROWS, MIN_ROWS]


@pytest.mark.parametrize(("milliseconds", "size"), [(CHUNK_MS, 1000), (CHUNK_MS + 5, 833), (CHUNK_MS - 5, 1250)])
def test_next_chunk_size_targets_the_chunk_time(world: World, milliseconds: int, size: int) -> None:
    throttle = throttle_of(world)
    throttle.adapt(milliseconds)
    assert throttle.rows == size


def test_chunks_grow_stepwise_after_shrinking_to_one_row(world: World) -> None:
    throttle = throttle_of(world)
    assert [throttle.shrink_batch() for _ in range(6)] == [False] * 5 + [True]
    sizes = []
    for _ in range(5):
        throttle.adapt(0)
        sizes.append(throttle.rows)
    assert sizes == [2, 3, 4, 6, 9]


def test_a_small_chunk_of_a_rule_is_never_made_larger(world: World) -> None:
    throttle = throttle_of(world, max_rows=7)
    throttle.adapt(0)
    throttle.adapt(1000)
    assert throttle.rows == 7


def test_pauses_double_until_replicas_catch_up(world: World) -> None:
    throttle = throttle_of(world, Server(behind=[60, 40, 11, MAX_LAG_SECONDS]))
    throttle.wait()
    assert (world.clock.slept, throttle.rows) == ([1, 2, 4], MIN_ROWS)


def test_lagging_replica_fails_the_rule_after_two_minutes(world: World) -> None:
    throttle = throttle_of(world, Server(behind=[60] * 10))
    with pytest.raises(TransientError, match="given up after 7 pauses: replication is 60 s behind"):
        throttle.wait()
    assert sum(world.clock.slept) == 127


def test_pause_never_exceeds_the_deadline(world: World) -> None:
    throttle = throttle_of(world, Server(behind=[60] * 10), seconds=20)
    with pytest.raises(OutOfTimeError, match="replication is 60 s behind"):
        throttle.wait()
    assert world.clock.slept == [1, 2, 4]


def test_lock_waits_cause_one_pause(world: World) -> None:
    throttle = throttle_of(world, Server(lock_ms=[5000, 5000, 100]))
    throttle.wait()
    assert (world.clock.slept, throttle.rows) == ([1], FIRST_ROWS // 2)
    world.clock.advance(1)
    throttle.wait()
    assert world.clock.slept == [1]


def test_server_load_is_checked_once_a_second(world: World) -> None:
    throttle = throttle_of(world, Server(behind=[0, 60]))
    throttle.wait()
    world.clock.advance(0.999)
    throttle.wait()
    assert world.clock.slept == []
    world.clock.advance(0.001)
    throttle.wait()
    assert world.clock.slept == [1]


def test_after_a_chunk_the_next_pause_is_a_short_one_again(world: World) -> None:
    throttle = throttle_of(world)
    throttle.pause("one")
    throttle.pause("two")
    throttle.adapt(0)
    throttle.pause("three")
    assert world.clock.slept == [1, 2, 1]


@contextmanager
def showing(world: World, answers: Callable[[], str]) -> Iterator[list[str]]:
    """Have the server answer otherwise when it is asked for its replication; give what was asked."""
    asked: list[str] = []

    def rewrite(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        if statement in {"SHOW REPLICA STATUS", "SHOW SLAVE STATUS"}:
            asked.append(statement)
            statement = answers()
        return statement, parameters

    engine = world.context().database.engine
    event.listen(engine, "before_cursor_execute", rewrite, retval=True)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", rewrite)


@on_a_server
@pytest.mark.parametrize("name", ["Seconds_Behind_Master", "Seconds_Behind_Source"])
def test_a_run_waits_until_replication_has_caught_up(world: World, name: str) -> None:
    add_sessions(world, 3, days=31)
    seconds = iter([30, 20])
    with showing(world, lambda: f"SELECT {next(seconds, 0)} AS {name}, 'x' AS Host") as asked:
        assert clean(world, rules=["sessions"])["succeeded"] == 3
    assert world.clock.slept == [1, 2]
    assert asked == ["SHOW REPLICA STATUS"] * 3


@on_a_server
def test_a_run_fails_when_replication_does_not_catch_up_and_deletes_nothing(world: World) -> None:
    add_sessions(world, 3, days=31)
    with (
        showing(world, lambda: "SELECT 30 AS Seconds_Behind_Master"),
        pytest.raises(RunFailedError, match="sessions failed: given up after 7 pauses: replication is 30 s behind"),
    ):
        clean(world, rules=["sessions"])
    assert len(ids_in(world, sessions)) == 3


@on_a_server
def test_the_slowest_of_several_replications_counts(world: World) -> None:
    answer = "SELECT 5 AS Seconds_Behind_Master UNION SELECT 70 UNION SELECT NULL"
    with showing(world, lambda: answer):
        assert ServerLoad(world.context().database).lag_seconds() == 70


@on_a_server
def test_a_server_that_knows_only_the_old_name_is_asked_by_it(world: World) -> None:
    answers = iter(["SHOW SOMETHING NOBODY KNOWS", "SELECT 7 AS Seconds_Behind_Master"])
    with showing(world, lambda: next(answers)) as asked:
        assert ServerLoad(world.context().database).lag_seconds() == 7
    assert asked == ["SHOW REPLICA STATUS", "SHOW SLAVE STATUS"]


@on_a_server
def test_a_replication_that_was_never_started_is_not_waited_for(world: World) -> None:
    engine = create_engine(world.environment["DATABASE_URL"])
    with engine.connect() as connection:
        replication = REPLICATION[connection.dialect.is_mariadb]  # type: ignore[attr-defined]
        connection.execute(text(replication["begin"]))
        try:
            assert connection.execute(text("SHOW REPLICA STATUS")).mappings().one()[replication["seconds"]] is None
            assert ServerLoad(world.context().database).lag_seconds() == 0
        finally:
            connection.execute(text(replication["end"]))
    engine.dispose()


@on_a_server
def test_a_user_who_may_not_see_replication_is_no_trouble(world: World) -> None:
    world.execute(text("CREATE USER cleaner@'127.0.0.1' IDENTIFIED BY 'secret'"))
    engine = create_engine(world.environment["DATABASE_URL"].replace("root@", "cleaner:secret@").rpartition("/")[0])
    try:
        load = ServerLoad(Database(engine, SystemClock()))
        assert (load.lag_seconds(), load.lag_seconds()) == (0, 0)
        assert load.lock_wait_ms() == 0
    finally:
        engine.dispose()
        world.execute(text("DROP USER cleaner@'127.0.0.1'"))


@on_a_server
def test_a_server_without_innodbs_counters_is_no_trouble(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "chalicelib.tasks.database_cleanup.throttle.ROW_LOCK_TIME", "SHOW GLOBAL STATUS LIKE 'Nothing of the kind'"
    )
    assert ServerLoad(world.context().database).lock_wait_ms() == 0


@on_a_server
def test_time_that_others_wait_for_locks_is_seen(world: World) -> None:
    add_sessions(world, 1, days=1)
    engine = create_engine(world.environment["DATABASE_URL"])
    statement = text("UPDATE sessions SET user_agent = 'x'")
    load = ServerLoad(world.context().database)
    assert load.lock_wait_ms() == 0

    def wait() -> None:
        with engine.connect() as connection:
            connection.execute(text("SET innodb_lock_wait_timeout = 1"))
            with pytest.raises(Exception, match="Lock wait timeout"):
                connection.execute(statement)

    with engine.connect() as holder:
        holder.execute(statement)
        waiter = threading.Thread(target=wait)
        waiter.start()
        waiter.join()
        holder.rollback()
    engine.dispose()
    assert 900 < load.lock_wait_ms() < 10_000
    assert load.lock_wait_ms() == 0


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sqlite_has_neither(world: World) -> None:
    load = ServerLoad(world.context().database)
    assert (load.lag_seconds(), load.lock_wait_ms()) == (0, 0)
