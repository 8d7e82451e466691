"""What a user is not shown cannot be missing from a backup without a word."""

from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.backup.connection import prepare_session, query_bytes, query_text
from chalicelib.backup.dump.scope import ROUTINES, SHOWN_BY, check_privileges, visible_kinds
from chalicelib.core.errors import ConfigurationError
from chalicelib.core.grants import read_grants
from chalicelib.core.store import Store
from tests.backup.whole import back_up, connector
from tests.servers import is_mariadb, new_schema, new_user

SCHEMA = "grants_of%shop"
LISTS = {
    "tables": b"TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE()",
    "triggers": b"TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()",
    "events": b"EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE()",
    "routines": b"ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=DATABASE()",
}
SOME = "EXECUTE ON PROCEDURE p"


@pytest.fixture
def server(server_url: str) -> Iterator[Any]:
    """A schema with two of each kind, and a user who may connect to it."""
    with connector(server_url, autocommit=True)() as connection:
        for statement in (
            *new_schema(SCHEMA),
            f"USE `{SCHEMA}`",
            "CREATE TABLE t (a INT PRIMARY KEY)",
            "CREATE TABLE u (a INT PRIMARY KEY)",
            "CREATE TRIGGER on_t BEFORE INSERT ON t FOR EACH ROW SET NEW.a = 1",
            "CREATE TRIGGER on_u BEFORE INSERT ON u FOR EACH ROW SET NEW.a = 1",
            "CREATE PROCEDURE p () SELECT 1",
            "CREATE PROCEDURE q () SELECT 1",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
            "CREATE EVENT f ON SCHEDULE EVERY 1 DAY DO SELECT 1",
            "DROP ROLE IF EXISTS looker",
            "CREATE ROLE looker",
            *new_user("reader"),
        ):
            query_bytes(connection, statement.encode())
        yield connection


def grant(server: Any, *grants: str) -> None:
    for each in grants:
        query_bytes(server, f"GRANT {each} TO reader@localhost".encode())


def named(connection: Any) -> dict[str, set[str]]:
    return {what: {name for (name,) in query_text(connection, b"SELECT " + listed)} for what, listed in LISTS.items()}


def refusal(reader: Any) -> str:
    try:
        check_privileges(reader, SCHEMA)
    except ConfigurationError as error:
        return str(error)
    return ""


COMMON = [
    ["SELECT ON t"],
    ["SELECT ON t", "TRIGGER ON t", SOME],
    ["SELECT ON `grants_of%shop`.*"],
    ["SELECT, TRIGGER ON `grants\\_of\\%shop`.*"],
    ["SELECT, TRIGGER ON `grants\\_of\\%sho_`.*", "EVENT ON `grants%`.*"],
    ["SELECT ON `grants_of%`.*"],
    ["SELECT ON *.*"],
    ["SELECT ON t", "EVENT ON *.*"],
    ["SELECT ON t", "ALTER ROUTINE ON *"],
    ["SELECT ON t", "CREATE ROUTINE ON *"],
    ["SELECT ON t", "EXECUTE ON *"],
    ["ALL ON *"],
    ["ALL ON *.*"],
    ["SELECT (a) ON t", "ALL ON `grants\\_of\\%shops`.*"],
    ["SELECT ON t", "looker"],
]
BY_SERVER = {
    "mysql": [*COMMON, ["SELECT ON t", "SHOW_ROUTINE ON *.*"]],
    "mariadb": [
        *COMMON,
        ["SELECT ON t", "SELECT ON mysql.proc"],
        ["SELECT, TRIGGER, EVENT, SHOW CREATE ROUTINE ON *"],
    ],
}


@pytest.mark.parametrize(
    ("server_url", "grants"),
    [
        pytest.param(name, grants, id=f"{name}: {' and '.join(grants)}")
        for name, all_of_them in BY_SERVER.items()
        for grants in all_of_them
    ],
    indirect=["server_url"],
)
def test_who_is_not_shown_all_is_told_what_to_grant_and_then_sees_it(
    server: Any, server_url: str, grants: list[str]
) -> None:
    query_bytes(server, f"GRANT SELECT, TRIGGER ON `{SCHEMA}`.* TO looker".encode())
    grant(server, *grants)
    if "looker" in grants:
        query_bytes(server, b"SET DEFAULT ROLE looker %b reader@localhost" % (b"FOR" if is_mariadb(server) else b"TO"))
    connect, everything = connector(server_url, schema=SCHEMA, user="reader"), named(server)
    with connect() as reader:
        prepare_session(reader)
        shown = named(reader)
        told = refusal(reader)
    hidden = [what for what in (*SHOWN_BY, ROUTINES) if shown[what] != everything[what]]
    lack = f"a backup by reader@localhost would lack {' and '.join(hidden)} of {SCHEMA}, hidden from it"
    assert told.partition(": grant ")[0] == (lack if hidden else "")

    grant(server, *filter(None, told.partition(": grant ")[2].split(" and ")))
    with connect() as reader:
        prepare_session(reader)
        assert refusal(reader) == ""
        assert named(reader) == everything


@pytest.mark.parametrize(
    ("grants", "hidden"),
    [
        (["GRANT SELECT, EVENT, TRIGGER ON `shop`.* TO `r`@`%`", "GRANT SHOW_ROUTINE ON *.* TO `r`@`%`"], []),
        (["GRANT USAGE ON *.* TO `r`@`%`", "GRANT `a`@`%`,`b`@`%` TO `r`@`%`"], [*SHOWN_BY, ROUTINES]),
        (["GRANT PROXY ON ``@`` TO 'r'@'%' WITH GRANT OPTION", "GRANT ALL PRIVILEGES ON `shop`.* TO 'r'@'%'"], []),
        (
            ["GRANT SELECT (`a`, `b`) ON `shop`.`t` TO `r`@`%`", "GRANT SELECT ON `mysql`.* TO `r`@`%`"],
            [*SHOWN_BY, ROUTINES],
        ),
        (["GRANT SELECT, EVENT, TRIGGER ON *.* TO `r`@`%` WITH GRANT OPTION"], []),
    ],
)
def test_grants_are_read_as_mysql_writes_them(grants: list[str], hidden: list[str]) -> None:
    assert [what for what in (*SHOWN_BY, ROUTINES) if what not in visible_kinds(read_grants(grants), "shop")] == hidden


def test_a_backup_that_would_lack_something_is_not_made(server: Any, server_url: str, store: Store) -> None:
    of_routines = "SELECT ON mysql.proc" if is_mariadb(server) else "SHOW_ROUTINE ON *.*"
    grant(server, "SELECT, LOCK TABLES, EVENT ON *", of_routines)
    before = list(store.list(""))
    missing = rf"would lack triggers of {SCHEMA}, .*: grant TRIGGER ON `{SCHEMA}`\.\*$"
    with pytest.raises(ConfigurationError, match=missing):
        back_up(connector(server_url, schema=SCHEMA, user="reader"), store)
    assert list(store.list("")) == before
