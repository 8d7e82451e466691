"""The archive: what goes is in the bucket before, whole and exactly; what is not there does not go."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert, text, update

from chalicelib.application import email_verification_tokens, password_reset_tokens, sessions, users
from chalicelib.core.errors import RunFailedError
from chalicelib.core.store import Store
from chalicelib.tasks.database_cleanup.rules import Rule
from tests.servers import on_a_server
from tests.tasks.database_cleanup.samples import (
    add_email_token,
    add_reset_token,
    add_sessions,
    add_things,
    ago,
    archived,
    clean,
    ids_in,
    things,
    use,
)
from tests.world import World

SESSIONS = Rule(name="sessions", timestamp=sessions.c.updated_at, keep=timedelta(days=30), archive=True, chunk=2)
USERS = Rule(
    name="users",
    timestamp=users.c.created_at,
    keep=timedelta(days=7),
    where=users.c.is_verified.is_(False),
    dependents={
        sessions.c.user_id: users.c.id,
        email_verification_tokens.c.user_id: users.c.id,
        password_reset_tokens.c.email: users.c.email,
    },
    archive=True,
)


def lines(world: World) -> list[tuple[str, str]]:
    """Return table and id of each archived row, in order."""
    return [(line["table"], line["row"]["id"]) for of_key in archived(world).values() for line in of_key]


def then(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Act once an object is stored, before its rows are deleted."""
    put = Store.put

    def put_then_act(*arguments: Any, **options: Any) -> None:
        put(*arguments, **options)
        act()

    monkeypatch.setattr(Store, "put", put_then_act)


def test_rows_that_go_are_archived_under_the_rule_and_the_fires_day(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, SESSIONS)
    gone = add_sessions(world, 5, days=31)
    add_sessions(world, 2, days=1, prefix="young")
    run_id = clean(world)["run_id"]
    place = f"archive/database_cleanup/sessions/2016-08-04/{run_id}-0001"
    assert list(archived(world)) == [f"{place}-00000{n}.jsonl.gz" for n in (1, 2, 3)]
    assert lines(world) == [("sessions", id_) for id_ in gone]
    assert ids_in(world, sessions) == ["young00000", "young00001"]
    (first, *_) = archived(world)[f"{place}-000001.jsonl.gz"]
    assert first["row"] == {
        "id": "s00000",
        "user_id": "nobody",
        "user_agent": "Mozilla/5.0",
        "created_at": 1,
        "updated_at": ago(days=31),
    }


def test_dependents_are_archived_with_their_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, USERS)
    first, second = world.add_users(2, is_verified=False, created_at=ago(days=8))
    add_sessions(world, 2, days=1, user_id=first)
    add_email_token(world, "email", expires_at=ago(), user_id=second)
    add_reset_token(
        world, "reset", expires_at=ago(), email="USER0@example.com" if world_is_mariadb(world) else "user0@example.com"
    )
    assert clean(world)["succeeded"] == 2
    assert sorted(lines(world)) == sorted(
        [
            ("users", first),
            ("users", second),
            ("sessions", "s00000"),
            ("sessions", "s00001"),
            ("email_verification_tokens", "email"),
            ("password_reset_tokens", "reset"),
        ]
    )
    assert ids_in(world, sessions) + ids_in(world, password_reset_tokens) + ids_in(world, users) == []


def world_is_mariadb(world: World) -> bool:
    return world.context().database.engine.dialect.name == "mysql"


def test_columns_that_the_mapping_does_not_know_are_archived_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with things(world, "BIGINT", extra=", note VARCHAR(20) DEFAULT 'märz \"3\"'") as table:
        use(monkeypatch, Rule(name="things", timestamp=table.c.moment, archive=True))
        add_things(world, {"a": ago(days=1)})
        clean(world)
    (line,) = next(iter(archived(world).values()))
    assert line == {"table": "things", "row": {"id": "a", "moment": ago(days=1), "note": 'märz "3"'}}


@on_a_server
def test_values_that_json_does_not_know_are_archived_as_text(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = ", price DECIMAL(8, 2) DEFAULT 1.50, raw BINARY(2) DEFAULT x'00ff', day DATE DEFAULT '2016-01-02',"
    extra += " length TIME DEFAULT '30:00:00', none INT"
    with things(world, "DATETIME(3)", extra=extra) as table:
        use(monkeypatch, Rule(name="things", timestamp=table.c.moment, archive=True))
        add_things(world, {"a": "2016-08-03 01:02:03.004"})
        clean(world)
    (line,) = next(iter(archived(world).values()))
    assert line["row"] == {
        "id": "a",
        "moment": "2016-08-03T01:02:03.004000",
        "price": "1.50",
        "raw": {"base64": "AP8="},
        "day": "2016-01-02",
        "length": "1 day, 6:00:00",
        "none": None,
    }


def test_nothing_is_stored_when_nothing_goes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, SESSIONS)
    add_sessions(world, 3, days=1)
    assert clean(world)["outcome"] == "succeeded"
    assert archived(world) == {}


def test_a_dry_run_stores_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, SESSIONS)
    add_sessions(world, 3, days=31)
    assert clean(world, dry_run=True)["skipped"] == 3
    assert archived(world) == {}


def test_nothing_is_deleted_when_s3_refuses_and_the_retry_continues(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, SESSIONS, Rule(name="tokens", timestamp=password_reset_tokens.c.expires_at))
    gone = add_sessions(world, 5, days=31)
    add_reset_token(world, "expired", expires_at=ago(days=1))
    bucket = world.environment["BUCKET"]
    world.configure(bucket=f"{bucket}-missing")
    with pytest.raises(RunFailedError, match=r"the rule sessions failed: archive/.* cannot be stored"):
        clean(world, request_id="r1")
    assert ids_in(world, sessions) == gone
    assert ids_in(world, password_reset_tokens) == []
    assert (world.run().succeeded, world.run().failed) == (1, 5)
    world.configure(bucket=bucket)
    assert clean(world, request_id="r1")["succeeded"] == 6
    assert lines(world) == [("sessions", id_) for id_ in gone]


def test_what_is_deleted_was_archived_when_s3_refuses_half_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, SESSIONS)
    gone = add_sessions(world, 5, days=31)
    stored: list[object] = []
    put = Store.put

    def put_once(self: Store, key: str, content: bytes, *, content_type: str) -> None:
        if stored:
            self = Store(world.aws.client("s3"), bucket="missing")
        stored.append(key)
        put(self, key, content, content_type=content_type)

    monkeypatch.setattr(Store, "put", put_once)
    with pytest.raises(RunFailedError, match="cannot be stored"):
        clean(world)
    assert lines(world) == [("sessions", id_) for id_ in gone[:2]]
    assert ids_in(world, sessions) == gone[2:]


def test_a_slow_s3_makes_no_chunk_smaller(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Rule(name="sessions", timestamp=sessions.c.updated_at, keep=timedelta(days=30), archive=True))
    monkeypatch.setattr("chalicelib.tasks.database_cleanup.throttle.FIRST_ROWS", 200)
    add_sessions(world, 600, days=31)
    then(monkeypatch, lambda: world.clock.advance(5))
    clean(world)
    assert [len(lines) for lines in archived(world).values()] == [200, 300, 100]


def test_a_row_that_changes_after_it_was_archived_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, SESSIONS)
    changed, gone = add_sessions(world, 2, days=31)
    then(
        monkeypatch,
        lambda: world.execute(update(sessions).where(sessions.c.id == changed).values(user_agent="other")),
    )
    summary = clean(world)
    assert ids_in(world, sessions) == [changed]
    assert (summary["succeeded"], summary["skipped"]) == (1, 1)
    assert ("sessions", gone) in lines(world)


def test_a_user_who_verifies_after_being_archived_stays_with_everything(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, USERS)
    stays, gone = world.add_users(2, is_verified=False, created_at=ago(days=8))
    add_sessions(world, 1, days=1, user_id=stays, prefix="stays")
    add_sessions(world, 1, days=1, user_id=gone, prefix="goes")
    then(monkeypatch, lambda: world.execute(update(users).where(users.c.id == stays).values(is_verified=True)))
    summary = clean(world)
    assert (ids_in(world, users), ids_in(world, sessions)) == ([stays], ["stays00000"])
    assert (summary["succeeded"], summary["skipped"]) == (1, 1)


def test_a_user_who_logs_in_after_being_archived_stays_with_everything(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, USERS)
    stays, _ = world.add_users(2, is_verified=False, created_at=ago(days=8))
    add_sessions(world, 1, days=1, user_id=stays)
    row = {"id": "new", "user_id": stays, "created_at": 1, "updated_at": ago()}
    then(monkeypatch, lambda: world.execute(insert(sessions), [row]))
    clean(world)
    assert (ids_in(world, users), ids_in(world, sessions)) == ([stays], ["new", "s00000"])


def test_a_row_that_comes_in_after_its_neighbours_were_archived_is_not_deleted_unarchived(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Rule(name="sessions", timestamp=sessions.c.updated_at, keep=timedelta(days=30), archive=True))
    gone = add_sessions(world, 3, days=31)
    row = {"id": "s00001x", "user_id": "u", "created_at": 1, "updated_at": ago(days=31)}
    then(monkeypatch, lambda: world.execute(insert(sessions), [row]))
    clean(world)
    assert ids_in(world, sessions) == ["s00001x"]
    assert lines(world) == [("sessions", id_) for id_ in gone]


def test_late_insert_rolls_back_the_chunk_and_archives_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, USERS)
    (gone,) = world.add_users(1, is_verified=False, created_at=ago(days=8))
    engine = world.context().database.engine
    done: list[str] = []

    # In our own transaction, since nobody else can come in between there.
    def come_in(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("DELETE FROM sessions") and not done:
            done.append(statement)
            connection.execute(text(f"INSERT INTO sessions VALUES ('new', '{gone}', NULL, 1, 1)"))

    event.listen(engine, "before_cursor_execute", come_in)
    try:
        assert clean(world)["succeeded"] == 1
    finally:
        event.remove(engine, "before_cursor_execute", come_in)
    assert done
    assert world.clock.slept == [1]
    assert lines(world) == [("users", gone)] * 2
