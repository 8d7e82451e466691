"""What the database's administrator is asked for is what the functions' user needs, and no more."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from app import PARTS
from chalicelib import migrations
from chalicelib.core import grants, secrets
from chalicelib.core.errors import ConfigurationError
from chalicelib.core.grants import pattern_of
from chalicelib.operate import operate
from tests.servers import on_both, on_mysql
from tests.world import World

SCHEMA = "first_day"
ADMIN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:rds-a1b2c3"
REFERENCE = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nightshift-dev-database-a1b2c3"


@pytest.fixture
def administrator(server_url: str) -> Iterator[Any]:
    """An administrator of a server that has our schema and not our user."""
    engine = create_engine(server_url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        # MariaDB makes users without a name, which the server prefers to those of any host.
        for user, host in connection.execute(text("SELECT user, host FROM mysql.user WHERE user = ''")).all():
            connection.execute(text(f"DROP USER {grants.account_of(user, host)}"))
        connection.execute(text("DROP USER IF EXISTS 'nightshift'@'%'"))
        connection.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA}"))
        connection.execute(text(f"CREATE SCHEMA {SCHEMA} CHARACTER SET utf8mb4"))
        yield connection
        connection.execute(text("DROP USER IF EXISTS 'nightshift'@'%'"))
        connection.execute(text(f"DROP SCHEMA {SCHEMA}"))


def url_of(server_url: str, *, password: str = "from the secret") -> URL:
    return make_url(server_url).set(username="nightshift", password=password, database=SCHEMA)


@pytest.fixture
def ours(world: World, server_url: str) -> Iterator[World]:
    """A deployment whose functions log in as a user of their own."""
    world.configure(database_url=url_of(server_url).render_as_string(hide_password=False))
    yield world
    world.context().database.engine.dispose()


def access(world: World) -> dict[str, Any]:
    # Or a connection of before would have the rights of before.
    world.context().database.engine.dispose()
    return operate({"command": "access"}, world.context(), {}, PARTS)


def run(administrator: Any, statements: list[str]) -> None:
    for statement in statements:
        with_password = statement.replace(grants.PLACEHOLDER, "from the secret")
        administrator.exec_driver_sql(with_password.replace("%", "%%"))


# The functions' server is `server_url`; the world's own database has no part in it.
of_the_day = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@on_both
@of_the_day
def test_the_statements_make_a_user_who_lacks_nothing(ours: World, administrator: Any) -> None:
    found = access(ours)
    assert "(1045)" in found["refusal"]
    assert found["statements"][0] == "CREATE USER 'nightshift'@'%' IDENTIFIED BY 'PASSWORD'"
    run(administrator, found["statements"])
    assert access(ours) == {"refusal": None, "lacks": [], "statements": [], "secret": None, "is_migrated": False}
    migrations.upgrade(ours.context().database.engine)
    assert access(ours)["is_migrated"]


@on_both
@of_the_day
def test_that_user_backs_up_and_drills(ours: World, administrator: Any) -> None:
    run(administrator, access(ours)["statements"])
    migrations.upgrade(ours.context().database.engine)
    run(administrator, [f"CREATE PROCEDURE {SCHEMA}.p () SELECT 1"])
    assert operate({"command": "backup.create"}, ours.context(), {}, PARTS)["outcome"] == "succeeded"
    assert operate({"command": "backup.drill", "plain": True}, ours.context(), {}, PARTS)["differences"] == []


@on_both
@of_the_day
@pytest.mark.parametrize("part", range(1, 6))
def test_each_right_that_is_missing_is_named_with_the_statement_that_gives_it(
    ours: World, administrator: Any, part: int
) -> None:
    statements = access(ours)["statements"]
    left_out = statements.pop(part)
    run(administrator, statements)
    found = access(ours)
    assert found["statements"] == [left_out]
    assert found["lacks"] == [["tasks", "migrations", "backups", "backups", "drills"][part - 1]]
    error = operate({"command": "check"}, ours.context(), {}, PARTS)["user"]["error"]
    assert error.endswith(f"{found['lacks'][0]}: as an administrator of the database, run {left_out}")
    run(administrator, [left_out])
    assert access(ours)["statements"] == []


@on_both
@of_the_day
def test_a_user_without_any_right_is_refused_with_all_of_them(ours: World, administrator: Any) -> None:
    run(administrator, access(ours)["statements"][:1])
    found = access(ours)
    assert "(1044)" in found["refusal"]
    assert len(found["statements"]) == 6


@on_mysql
@of_the_day
def test_a_drill_of_triggers_needs_the_trust_of_a_server_with_a_binary_log(ours: World, administrator: Any) -> None:
    run(administrator, access(ours)["statements"])
    run(administrator, ["SET GLOBAL log_bin_trust_function_creators = 0"])
    try:
        assert access(ours)["statements"] == []
        for statement in ("TABLE {}.t (a INT)", "TRIGGER {}.r BEFORE INSERT ON {}.t FOR EACH ROW SET NEW.a = 1"):
            run(administrator, [f"CREATE {statement.replace('{}', SCHEMA)}"])
        found = access(ours)
        assert (found["lacks"], found["statements"]) == (["drills"], [grants.TRUST])
    finally:
        run(administrator, [grants.TRUST])
    assert access(ours)["statements"] == []


@on_both
@of_the_day
def test_rights_on_every_schema_are_enough(ours: World, administrator: Any) -> None:
    run(administrator, [access(ours)["statements"][0], "GRANT ALL ON *.* TO 'nightshift'@'%'"])
    assert access(ours)["statements"] == []


BY_ENGINE = [["CREATE", "USER"], ["GRANT", "SELECT,"], ["GRANT", "CREATE,"]]


@on_both
@of_the_day
def test_what_no_task_of_the_project_needs_is_not_asked_for(
    ours: World, administrator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chalicelib.backup.operations.TASKS", {"backups": "gone", "drills": "gone"})
    assert [statement.split()[:2] for statement in access(ours)["statements"]] == BY_ENGINE


@on_both
@of_the_day
def test_without_the_part_backup_no_right_is_asked_for_that_backups_need(ours: World, administrator: Any) -> None:
    statements = operate({"command": "access"}, ours.context(), {}, ())["statements"]
    assert [statement.split()[:2] for statement in statements] == BY_ENGINE
    run(administrator, statements)
    ours.context().database.engine.dispose()
    assert operate({"command": "access"}, ours.context(), {}, ())["statements"] == []


@on_both
@of_the_day
def test_the_secret_with_the_password_is_named(
    ours: World, administrator: Any, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = json.dumps({"username": "nightshift", "password": "from the secret"})
    monkeypatch.setattr(secrets, "fetch", {REFERENCE: login}.__getitem__)
    monkeypatch.setattr(secrets, "forget", lambda: None)
    without = make_url(server_url).set(username=None, database=SCHEMA).render_as_string()
    ours.configure(database_url=without, database_credentials=REFERENCE)
    with_secret = operate({"command": "access"}, ours.context(), {}, PARTS)
    assert with_secret["secret"] == REFERENCE
    assert with_secret["statements"][0].startswith("CREATE USER 'nightshift'@'%'")


@pytest.fixture
def known(ours: World, administrator: Any, server_url: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """A deployment whose functions know the administrator's secret, as with the database of the data stack."""
    address = make_url(server_url)
    logins = {
        REFERENCE: {"username": "nightshift", "password": "it's 'from' % the\\ secret"},
        ADMIN: {"username": address.username, "password": address.password or ""},
    }
    monkeypatch.setattr(secrets, "fetch", {arn: json.dumps(login) for arn, login in logins.items()}.__getitem__)
    monkeypatch.setattr(secrets, "forget", lambda: None)
    without = address.set(username=None, password=None, database=SCHEMA).render_as_string()
    ours.configure(database_url=without, database_credentials=REFERENCE, database_admin_credentials=ADMIN)
    return ours


@on_both
@of_the_day
def test_with_the_administrators_secret_the_user_is_made_with_its_rights_and_no_others(
    known: World, administrator: Any
) -> None:
    for _ in range(2):
        found = access(known)
        assert (found["refusal"], found["lacks"], found["statements"]) == (None, [], [])
    migrations.upgrade(known.context().database.engine)
    with known.context().database.engine.connect() as connection:
        assert connection.execute(text("SELECT CURRENT_USER()")).scalar() == "nightshift@%"
        with pytest.raises(DBAPIError, match="denied"):
            connection.execute(text("CREATE USER other"))


@on_both
@of_the_day
def test_a_user_that_is_there_already_gets_the_password_of_the_secret_and_what_it_lacks(
    known: World, administrator: Any
) -> None:
    run(administrator, ["CREATE USER 'nightshift'@'%' IDENTIFIED BY 'another'"])
    assert access(known)["statements"] == []
    run(administrator, [f"REVOKE EVENT ON {pattern_of(SCHEMA)}.* FROM 'nightshift'@'%'"])
    assert access(known)["statements"] == []


@on_both
@of_the_day
def test_what_the_administrator_may_not_grant_is_still_asked_for(
    known: World, administrator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(
        administrator,
        [
            "DROP USER IF EXISTS 'lesser'@'%'",
            "CREATE USER 'lesser'@'%' IDENTIFIED BY 'lesser'",
            "GRANT CREATE USER ON *.* TO 'lesser'@'%'",
            f"GRANT ALL ON {SCHEMA}.* TO 'lesser'@'%' WITH GRANT OPTION",
        ],
    )
    fetch = secrets.fetch
    lesser = json.dumps({"username": "lesser", "password": "lesser"})
    monkeypatch.setattr(secrets, "fetch", lambda arn: lesser if arn == ADMIN else fetch(arn))
    found = access(known)
    run(administrator, ["DROP USER 'lesser'@'%'"])
    assert (found["refusal"], found["lacks"]) == (None, ["backups", "drills"])
    assert len(found["statements"]) == 2


@of_the_day
def test_the_administrator_is_not_taken_for_the_functions_user(known: World, monkeypatch: pytest.MonkeyPatch) -> None:
    login = json.dumps({"username": "nightshift", "password": "wrong"})
    monkeypatch.setattr(secrets, "fetch", lambda _: login)
    with pytest.raises(ConfigurationError, match="name the same user: give the secrets stack another"):
        access(known)


@of_the_day
def test_a_file_has_no_users(world: World) -> None:
    assert operate({"command": "access"}, world.context(), {}, PARTS)["statements"] == []
