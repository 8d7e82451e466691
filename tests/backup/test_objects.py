"""What a schema holds: keys that order rows, definitions for any schema's name, programs in an order that loads."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.backup.connection import prepare_session, query_bytes
from chalicelib.backup.dump.definitions import (
    Program,
    define_programs,
    define_tables,
    order_views,
    read_routines,
    read_views,
)
from chalicelib.backup.dump.tables import Table, read_sequences, read_tables, strip_schema, strip_trigger_schema
from chalicelib.core.errors import PermanentError
from tests.backup.whole import connector
from tests.servers import client, is_mariadb, new_schema, new_user, on_both, on_mariadb, on_mysql


@pytest.fixture
def server(server_url: str) -> Iterator[Any]:
    """A connection to an empty schema `objects`, which reads as a backup does."""
    with connector(server_url, autocommit=True)() as connection:
        for statement in new_schema("objects"):
            query_bytes(connection, statement.encode())
        query_bytes(connection, b"USE objects")
        prepare_session(connection)
        yield connection


@on_both
@pytest.mark.parametrize(
    ("definition", "key"),
    [
        ("(a INT PRIMARY KEY, b INT NOT NULL UNIQUE)", ("a",)),
        ("(a INT, b INT, PRIMARY KEY (b, a))", ("b", "a")),
        ("(a INT, PRIMARY KEY (a DESC))", ("a",)),
        ("(a INT)", ()),
        ("(a INT, KEY (a))", ()),
        # Of these there may be equal rows, or such as are equal in all that is compared.
        ("(a INT UNIQUE)", ()),
        ("(a INT NOT NULL, b INT, UNIQUE KEY (a, b))", ()),
        ("(a VARCHAR(100) NOT NULL, PRIMARY KEY (a(5)))", ()),
        ("(a INT NOT NULL, b INT UNIQUE, c INT NOT NULL, UNIQUE KEY (c))", ("c",)),
        ("(a INT PRIMARY KEY) ENGINE=MyISAM", ("a",)),
    ],
)
def test_rows_are_ordered_by_a_key_that_tells_all_of_them_apart(
    definition: str, key: tuple[str, ...], server: Any
) -> None:
    assert key_of(server, definition) == key


def key_of(server: Any, definition: str) -> tuple[str, ...]:
    query_bytes(server, f"CREATE TABLE t {definition}".encode())
    [table] = read_tables(server, "objects")
    return table.key


@on_mariadb
@pytest.mark.parametrize(
    ("definition", "key"),
    [
        ("(a TEXT NOT NULL, UNIQUE KEY (a) USING HASH)", ()),
        ("(a INT PRIMARY KEY, b INT) WITH SYSTEM VERSIONING", ("a",)),
    ],
)
def test_a_hash_orders_no_rows_nor_does_what_cannot_be_named(
    definition: str, key: tuple[str, ...], server: Any
) -> None:
    assert key_of(server, definition) == key


@on_mysql
@pytest.mark.parametrize(
    ("definition", "key"),
    [
        ("(a INT NOT NULL, j JSON, UNIQUE KEY ((a + 1)), UNIQUE KEY ((CAST(j AS UNSIGNED ARRAY))))", ()),
        ("(a INT NOT NULL, b INT NOT NULL, UNIQUE KEY (b), UNIQUE KEY (a) INVISIBLE)", ("a",)),
        ("(a INT)", ("my_row_id",)),
    ],
)
def test_an_invisible_key_orders_rows_and_one_of_expressions_does_not(
    definition: str, key: tuple[str, ...], server: Any
) -> None:
    query_bytes(server, b"SET SESSION sql_generate_invisible_primary_key=%d" % (key == ("my_row_id",)))
    assert key_of(server, definition) == key


@on_both
def test_generated_columns_are_not_stored_and_invisible_ones_are(server: Any) -> None:
    versioned = b""
    if is_mariadb(server):
        versioned = (
            b", f TIMESTAMP(6) GENERATED ALWAYS AS ROW START, u TIMESTAMP(6) GENERATED ALWAYS AS ROW END,"
            b" PERIOD FOR SYSTEM_TIME (f, u)) WITH SYSTEM VERSIONING"
        )
    columns = b"a INT, v INT AS (a) VIRTUAL, s INT AS (a) STORED, i INT INVISIBLE, d INT DEFAULT (1 + 1)"
    query_bytes(server, b"CREATE TABLE t (" + columns + (versioned or b")"))
    [table] = read_tables(server, "objects")
    assert [column.name for column in table.columns] == ["a", "i", "d"]


@on_mariadb
def test_a_sequence_goes_on_where_it_was(server: Any) -> None:
    query_bytes(server, b"CREATE SEQUENCE s START WITH 5 INCREMENT BY 3 NOCACHE")
    query_bytes(server, b"DO NEXTVAL(s), NEXTVAL(s)")
    text = define_tables(read_sequences(server), [])
    assert b"\n$$\nDO SETVAL(`s`,11,0)\n$$\n" in text
    assert read_tables(server, "objects") == []


SCHEMA = "sho`p"


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("select `sho``p`.`f`(`t`.`a`) AS `x` from `t`", "select `f`(`t`.`a`) AS `x` from `t`"),
        ("DEFAULT nextval(`sho``p`.`s`)", "DEFAULT nextval(`s`)"),
        ("select setval(`sho``p`.`s`,5,0), lastval(`sho``p`.`s`)", "select setval(`s`,5,0), lastval(`s`)"),
        (
            "select `x`.`v` AS `v` from (JSON_TABLE(`sho``p`.`t`.`j`, '$' COLUMNS (`v` int(11) PATH '$')) `x`"
            " straight_join `sho``p`.`u`)",
            "select `x`.`v` AS `v` from (JSON_TABLE(`t`.`j`, '$' COLUMNS (`v` int(11) PATH '$')) `x`"
            " straight_join `u`)",
        ),
        # As MariaDB shows a view whose definer is gone; the last table is called like the schema.
        (
            "with c as (select `sho``p`.`t`.`a` AS `a` from `sho``p`.`t`)select `sho``p`.`sho``p`.`b` AS `b` from"
            " ((`c` left join `sho``p`.`u` `x` on(`x`.`i` = `c`.`a`)) join `sho``p`.`sho``p`) where"
            " `other`.`sho``p`.`c`",
            "with c as (select `t`.`a` AS `a` from `t`)select `sho``p`.`b` AS `b` from"
            " ((`c` left join `u` `x` on(`x`.`i` = `c`.`a`)) join `sho``p`) where `other`.`sho``p`.`c`",
        ),
        # A column of a table that is called like the schema.
        ("select `sho``p`.`a` AS `x` from `sho``p`", None),
        ("select nextval(`other`.`s`),`other`.`f`(1)", None),
        ("select 'nextval(`sho``p`.`s`)' AS `x`", None),
        ("select '\\'`sho``p`.`f`(' AS `x`", None),
        ("select '''`sho``p`.`f`(' AS `x`", None),
        ("select `a`.`x'y`,'`sho``p`.`f`(' from `a`", None),
        ("select 1 AS `nextval(``sho````p``.``s``)`", None),
    ],
)
def test_the_schemas_own_name_goes_and_nothing_else(definition: str, expected: str | None) -> None:
    assert strip_schema(definition.encode(), SCHEMA).decode() == (expected or definition)


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (
            "CREATE DEFINER=`a`@`b` TRIGGER shop.t1 BEFORE INSERT ON shop.orders FOR",
            "TRIGGER t1 BEFORE INSERT ON orders FOR",
        ),
        (
            "CREATE DEFINER=`a`@`b` trigger `shop` . `t1`AFTER delete on`shop`.`orders`for",
            "trigger `t1`AFTER delete on`orders`for",
        ),
        (
            'CREATE DEFINER="a"@"b" TRIGGER "shop"."t1" BEFORE UPDATE\nON orders',
            'TRIGGER "t1" BEFORE UPDATE\nON orders',
        ),
        (
            "CREATE OR REPLACE DEFINER=`a`@`b` TRIGGER IF NOT EXISTS shop.t1 AFTER INSERT ON orders",
            "EXISTS t1 AFTER INSERT",
        ),
        (
            "CREATE DEFINER=`a`@`b` TRIGGER t1 BEFORE INSERT ON shop.orders FOR",
            "TRIGGER t1 BEFORE INSERT ON orders FOR",
        ),
        # Only in the head, and only where it is the schema.
        ("CREATE DEFINER=`a`@`b` TRIGGER t1 AFTER INSERT ON orders FOR EACH ROW UPDATE shop.orders SET a = 1", None),
        ("CREATE DEFINER=`a`@`b` TRIGGER t1 AFTER INSERT ON other.orders FOR EACH ROW SET @a = 1", None),
    ],
)
def test_a_triggers_head_loses_the_schemas_name(definition: str, expected: str | None) -> None:
    found = strip_trigger_schema(definition.encode(), "shop", name="t1", table="orders").decode()
    assert (expected or definition) in found
    assert expected is None or "shop" not in found


def view(name: str, definition: str, *named: str, columns: tuple[str, ...] = ()) -> Program:
    text, of = f"CREATE {definition}".encode(), {"charset": "utf8mb4", "collation": "utf8mb4_bin"}
    return Program(kind="VIEW", name=name, definition=text, columns=columns, named=frozenset(named), **of)


def test_a_view_comes_after_those_that_it_names() -> None:
    views = [view("a", "a", "b", "d", "elsewhere"), view("b", "b", "c"), view("c", "c"), view("d", "d")]
    assert [one.name for one in order_views(views)] == ["c", "d", "b", "a"]


def test_views_that_seem_to_need_each_other_are_made_twice() -> None:
    views = [
        view("a", "VIEW `a` AS select 1 AS `b`", "b", columns=("b",)),
        view("b", "VIEW `b` AS select `a`.`b` AS `c``;` from `a`", "a", columns=("c`;",)),
    ]
    assert [one.definition for one in order_views(views)] == [
        b"CREATE VIEW `a` AS SELECT 1 AS `b`",
        b"CREATE VIEW `b` AS SELECT 1 AS `c``;`",
        b"CREATE OR REPLACE VIEW `a` AS select 1 AS `b`",
        b"CREATE OR REPLACE VIEW `b` AS select `a`.`b` AS `c``;` from `a`",
    ]


@on_both
def test_names_in_a_definition_are_found_whatever_its_character_set(server: Any) -> None:
    query_bytes(server, b"CREATE TABLE t (id INT)")
    query_bytes(server, b"SET NAMES latin1")
    for definition in ("`ü` AS SELECT id AS `a``b` FROM t", "`ä` AS SELECT * FROM `ü`", "`a``b` AS SELECT 1 AS `t`"):
        query_bytes(server, f"CREATE VIEW {definition}".encode("latin-1"))
    prepare_session(server)
    named = {one.name: set(one.named) for one in read_views(server, "objects")}
    assert named == {"ü": {"a`b"}, "ä": {"ü", "a`b"}, "a`b": set()}


def split_statements(text: bytes) -> list[bytes]:
    """Split a part as whoever loads it does."""
    head, _, rest = text.partition(b"DELIMITER ")
    assert head.startswith(b"SET NAMES utf8mb4;\nSET SESSION ")
    delimiter, _, rest = rest.partition(b"\n")
    *statements, end = rest.split(b"\n" + delimiter + b"\n")
    assert end == b"DELIMITER ;\n"
    assert not any(delimiter in statement for statement in statements)
    return statements


def test_the_delimiter_occurs_in_no_statement() -> None:
    definition = b"CREATE VIEW `v` AS select '$$\n$$$\n',';\nDELIMITER ;\n'"
    one = Program(kind="VIEW", name="v", definition=definition, charset="utf8mb4", collation="utf8mb4_bin")
    assert definition in split_statements(define_programs([one], collation="utf8mb4_bin"))


def test_a_program_is_made_under_the_settings_of_its_time() -> None:
    one = Program(
        kind="EVENT",
        name="e",
        definition=b"CREATE EVENT `e` DO SELECT 1",
        charset="latin1",
        collation="latin1_bin",
        schema_collation="utf8mb4_bin",
        sql_mode="ANSI_QUOTES",
        time_zone="+05:30",
    )
    assert split_statements(define_programs([one], collation="latin1_german1_ci")) == [
        b"ALTER DATABASE COLLATE utf8mb4_bin",
        b"SET SESSION character_set_client='latin1',collation_connection='latin1_bin',sql_mode='ANSI_QUOTES',"
        b"time_zone='+05:30'",
        b"CREATE EVENT `e` DO SELECT 1",
        b"ALTER DATABASE COLLATE latin1_german1_ci",
        b"SET NAMES utf8mb4",
        b"SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO',time_zone='+00:00'",
    ]


@on_both
def test_a_program_that_is_hidden_from_this_user_is_an_error(server: Any, server_url: str) -> None:
    query_bytes(server, b"CREATE PROCEDURE p () SELECT 1")
    for statement in new_user("reader"):
        query_bytes(server, statement.encode())
    query_bytes(server, b"GRANT SELECT, EXECUTE ON objects.* TO reader@localhost")
    with connector(server_url, schema="objects", user="reader")() as reader:
        prepare_session(reader)
        with pytest.raises(PermanentError, match="the procedure 'p' is hidden from this user"):
            read_routines(reader)


@on_both
def test_every_part_of_a_definition_loads_by_the_plain_client(server: Any) -> None:
    query_bytes(server, b"CREATE TABLE `a``$$;` (id INT PRIMARY KEY COMMENT 'it''s; $$')")
    [table] = read_tables(server, "objects")
    assert isinstance(table, Table)
    text = define_tables([], [table])
    query_bytes(server, b"DROP TABLE `a``$$;`")
    subprocess.run(client(server, "objects"), input=text, check=True)
    assert read_tables(server, "objects") == [table]


COLLATED = "CONCAT('a', DATE_FORMAT('2026-01-02', '%Y')) COLLATE"


def test_a_view_with_a_collation_of_text_that_a_function_makes_is_read(server: Any) -> None:
    for charset, collation in (("utf8mb4", "utf8mb4_general_ci"), ("latin1", "latin1_german1_ci")):
        query_bytes(server, f"SET NAMES {charset}".encode())
        query_bytes(server, f"CREATE VIEW of_{charset} AS SELECT {COLLATED} {collation} AS a".encode())
    prepare_session(server)
    views = read_views(server, "objects")
    assert [(one.name, one.charset, one.columns) for one in views] == [
        ("of_latin1", "latin1", ("a",)),
        ("of_utf8mb4", "utf8mb4", ("a",)),
    ]
    assert all(b"collate" in one.definition.lower() for one in views)
    assert query_bytes(server, b"SELECT @@character_set_connection") == [(b"binary",)]
