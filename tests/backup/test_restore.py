"""A backup comes back as it was, into the schema that was named, and nothing else is ever touched."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from chalicelib.backup.archive.encryption import Keys
from chalicelib.backup.archive.folder import key_of
from chalicelib.backup.archive.manifest import Manifest, Part
from chalicelib.backup.restore.restore import RestoreProgress
from chalicelib.backup.restore.target import Target
from chalicelib.core.errors import (
    ConfigurationError,
    DamagedError,
    InvalidRequestError,
    OutOfTimeError,
    PermanentError,
    TransientError,
)
from chalicelib.core.store import Store
from tests.backup import samples
from tests.backup.archives import ID, KEYS, PLAIN
from tests.backup.restoring import HOSTILE, Counting, Database, T, U, half, run, run_out_of_time
from tests.backup.whole import back_up, connector, rows_of, write_backup
from tests.servers import on_both, on_mariadb, on_mysql
from tests.sweep import IS_SWEEP


@on_both
def test_everything_comes_back_as_it_was(store: Store, database: Database, hostile: Manifest) -> None:
    restored = run(store, database, id=HOSTILE, keys=KEYS, allow_cross_schema=True)
    assert restored.differences == []
    assert (restored.tables, restored.rows) == (len(hostile.tables), hostile.rows)
    assert database.describe("copy") == database.describe("source")


@pytest.mark.parametrize("how", ["here", "there"])
def test_everything_comes_back_where_no_stream_is_taken(
    store: Store, database: Database, hostile: Manifest, how: str
) -> None:
    database.ask(f"SET GLOBAL local_infile = {int(how == 'here')}")
    try:
        options = {"client_flag": 0} if how == "here" else {}
        assert run(store, database, id=HOSTILE, keys=KEYS, allow_cross_schema=True, options=options).differences == []
    finally:
        database.ask("SET GLOBAL local_infile = 1")
    assert database.describe("copy") == database.describe("source")


def test_what_is_backed_up_from_a_restored_schema_is_the_same(
    store: Store, database: Database, hostile: Manifest
) -> None:
    run(store, database, id=HOSTILE, keys=KEYS, allow_cross_schema=True)
    again = back_up(connector(database.url, schema="copy"), store)
    assert again.tables == hostile.tables
    assert again.programs == hostile.programs


@on_mysql
def test_a_decimal_in_a_document_comes_back_as_mysql_reads_it(store: Store, database: Database) -> None:
    database.new_schema("other")
    database.ask("CREATE TABLE other.documents (id INT PRIMARY KEY, d JSON, padding LONGTEXT)")
    values = [
        "JSON_OBJECT('price', CAST(1.10 AS DECIMAL(5,2)))",
        "JSON_ARRAY(CAST(12345678901234567890123 AS DECIMAL(30,0)), 18446744073709551615, 0.1e0, -0.0e0, 1e300)",
        "JSON_ARRAY(CAST('2020-01-01' AS DATE), CAST('12:30:00.5' AS TIME(3)), X'FF', 'ü🐙\\\\ \\n', NULL, TRUE)",
        "NULL",
    ]
    for number, value in enumerate(values):
        for padding in ("''", "REPEAT('long', 300000)"):
            id_ = 2 * number + (padding != "''")
            database.ask(f"INSERT INTO other.documents VALUES ({id_}, {value}, {padding})")
    manifest = back_up(connector(database.url, schema="other"), store)
    assert run(store, database).differences == []
    assert database.ask("SELECT CAST(d AS CHAR) FROM copy.documents WHERE id < 2") == [('{"price": 1.1}',)] * 2
    assert back_up(connector(database.url, schema="copy"), store).tables == manifest.tables


def test_rows_that_are_longer_than_a_packet_come_back(store: Store, database: Database) -> None:
    database.ask("CREATE SCHEMA other")
    database.ask("SET GLOBAL max_allowed_packet = 64 << 20")
    connect = connector(database.url, schema="other")
    samples.fill_long(connect())
    database.ask("SET GLOBAL max_allowed_packet = 16 << 20")
    manifest = back_up(connect, store)
    assert manifest.rows == 6
    assert run(store, database).differences == []
    assert database.describe("copy") == database.describe("other")


def test_a_schema_that_is_not_empty_is_refused_and_left_as_it_is(
    store: Store, database: Database, small: Manifest
) -> None:
    for object in (
        "TABLE other.mine (a INT)",
        "VIEW other.mine AS SELECT 1",
        *(["SEQUENCE other.mine"] if database.is_mariadb else []),
        "PROCEDURE other.mine () SELECT 1",
        "EVENT other.mine ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
    ):
        database.new_schema("other")
        database.ask(f"CREATE {object}")
        before = database.describe("other")
        with pytest.raises(
            InvalidRequestError, match=r"other is not empty, it has the .* `mine`: restore into another"
        ):
            run(store, database, schema="other")
        assert database.describe("other") == before


def test_what_has_the_names_of_the_backup_is_replaced_on_request_and_nothing_else(
    store: Store, database: Database, small: Manifest
) -> None:
    for statement in (
        "CREATE SCHEMA copy COLLATE latin1_german1_ci",
        "CREATE VIEW copy.t AS SELECT 1",
        "CREATE TABLE copy.u (a INT PRIMARY KEY)",
        "CREATE TABLE copy.child (a INT, FOREIGN KEY (a) REFERENCES copy.u (a))",
        "CREATE TABLE copy.mine (a INT)",
        "INSERT INTO copy.mine VALUES (5)",
        "CREATE TRIGGER copy.kept BEFORE INSERT ON copy.mine FOR EACH ROW SET NEW.a = 0",
        "CREATE PROCEDURE copy.mine () SELECT 1",
    ):
        database.ask(statement)
    assert run(store, database, replace=True).differences == []
    found = database.describe("copy")
    assert {"TABLE t", "TABLE u", "TABLE child", "TABLE mine", "PROCEDURE mine", "TRIGGER kept"} <= found.keys()
    assert database.ask("SELECT * FROM copy.mine") == [(5,)]
    triggers = database.ask(
        "SELECT EVENT_OBJECT_TABLE,DATABASE_COLLATION FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA='copy'"
    )
    # Each made under its own schema's collation.
    assert set(triggers) == {("t", "utf8mb4_bin"), ("mine", "latin1_german1_ci")}
    assert found["SCHEMA"] == [("latin1", "latin1_german1_ci")]


@pytest.mark.parametrize("schema", ["mysql", "SYS", "information_schema", "performance_schema"])
def test_nothing_is_restored_into_the_servers_own_schemas(
    store: Store, database: Database, small: Manifest, schema: str
) -> None:
    with pytest.raises(InvalidRequestError, match="a system schema"):
        run(store, database, schema=schema, replace=True)


@pytest.mark.parametrize("keys", [PLAIN, KEYS], ids=["plain", "encrypted"])
def test_of_a_damaged_backup_nothing_is_restored(store: Store, database: Database, keys: Keys) -> None:
    manifest = write_backup(store, tables=[T], rows=[("t", 1, rows_of("t", b"(1,'x')"))], key=keys.first)
    before = database.schemas()
    for part in manifest.parts:
        content = b"".join(store.read(key_of(ID, part.name)))
        for damaged in (
            *(
                content[:n] + bytes([content[n] ^ 1]) + content[n + 1 :]
                for n in range(0, len(content), 7 if IS_SWEEP else 29)
            ),
            content[:-1],
            content + b"\0",
            b"",
        ):
            store.put(key_of(ID, part.name), damaged, content_type="text/plain")
            with pytest.raises(DamagedError, match=f"{part.name} of backup {ID} is damaged"):
                run(store, database, keys=keys)
        store.put(key_of(ID, part.name), content, content_type="text/plain")
    assert database.schemas() == before
    assert run(store, database, keys=keys, by_checksum=False).differences == []


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        (rows_of("u", b"(1,'x')"), 1),
        (rows_of("t", b"(1,'x')") + b"DROP TABLE t;\n", 1),
        (rows_of("t", b"(1,'x')").replace(b"INTO `t`", b"INTO `mysql`.`t`"), 1),
        (rows_of("t", b"(1,'x')"), 2),
        (b"SET NAMES binary;\nDROP TABLE `t`;\n", 0),
    ],
)
def test_a_part_of_rows_that_is_something_else_is_refused_before_anything_is_done(
    store: Store, database: Database, rows: bytes, count: int
) -> None:
    write_backup(store, tables=[T], rows=[("t", count, rows)])
    with pytest.raises(DamagedError, match=f"00002.sql.zst of backup {ID} is damaged"):
        run(store, database)
    assert "copy" not in database.schemas()


@pytest.mark.parametrize(
    "row", [b"(1,(SELECT Password FROM mysql.user))", b"(SLEEP(9),'x')", b"(1,'x') ON DUPLICATE KEY UPDATE a=2"]
)
@pytest.mark.parametrize("options", [{}, {"client_flag": 0}], ids=["streamed", "inserted"])
def test_rows_are_only_ever_data(store: Store, database: Database, row: bytes, options: dict[str, int]) -> None:
    write_backup(store, tables=[T], rows=[("t", 2, rows_of("t", b"(7,'7')", row))])
    try:
        run(store, database, options=options, by_checksum=False)
    except PermanentError:
        assert database.ask("SELECT * FROM copy.t") == []
    else:
        # What the text says, cut to what the column takes; nothing of it was evaluated.
        assert [len(b or "") for _, b in database.ask("SELECT * FROM copy.t WHERE a <> 7")] <= [20]


@pytest.mark.parametrize(
    ("tables", "programs"),
    [
        ([b"CREATE TABLE `other`.`t` (\n  `a` int)"], []),
        ([b"CREATE TEMPORARY TABLE `t` (\n  `a` int)"], []),
        ([b"CREATE TABLE `t` LIKE `mysql`.`user`"], []),
        ([b"CREATE TABLE `t` (LIKE `mysql`.`user`)"], []),
        ([b"DROP SCHEMA other"], []),
        ([T, b"DROP SCHEMA other"], []),
        ([T, b"CREATE USER forger"], []),
        ([T, b"SET GLOBAL local_infile=0"], []),
        ([T, b"SET SESSION sql_log_bin=0"], []),
        ([T, b"SET SESSION sql_mode='',GLOBAL max_connections=1"], []),
        ([T, b"INSERT INTO `t` VALUES (1,'x')"], []),
        ([T, b"DO SETVAL(`other`.`s`,1,0)"], []),
        ([T, b"CREATE VIEW `v` AS SELECT 1"], []),
        ([T], [U]),
        ([T], [b"USE other"]),
        ([T], [b"CREATE VIEW `other`.`v` AS SELECT 1"]),
        ([T], [b"CREATE VIEW other.v AS SELECT 1"]),
        ([T], [b"CREATE PROCEDURE `other` . `p`() SELECT 1"]),
        ([T], [b"CREATE TRIGGER `x` BEFORE INSERT ON `other`.`t` FOR EACH ROW SET @a=1"]),
        ([T], [b"CREATE FUNCTION `f` RETURNS STRING SONAME 'udf.so'"]),
        ([T], [b"CREATE /*!999999 VIEW `v` */ USER forger"]),
        ([T], [b"CREATE DEFINER=`root`@`localhost` USER forger"]),
        ([T], [b"ALTER DATABASE `other` COLLATE latin1_bin"]),
        ([T], [b"GRANT ALL ON *.* TO forger"]),
    ],
)
def test_a_definition_of_a_kind_that_no_backup_has_is_refused_before_anything_is_done(
    store: Store, database: Database, tables: list[bytes], programs: list[bytes]
) -> None:
    database.ask("CREATE SCHEMA other")
    write_backup(store, tables=tables, rows=[], programs=programs)
    with pytest.raises(DamagedError):
        run(store, database, allow_cross_schema=True)
    assert "copy" not in database.schemas()
    assert "other" in database.schemas()
    assert database.ask("SELECT * FROM mysql.user WHERE user='forger'") == []


def test_a_table_that_the_manifest_does_not_tell_of_is_refused(store: Store, database: Database) -> None:
    write_backup(store, tables=[T, b"CREATE TABLE `../../x` (\n  `a` int)"], rows=[])
    with pytest.raises(DamagedError, match="manifest and definitions have different tables"):
        run(store, database)


NAMED = [
    b"CREATE VIEW `v` AS SELECT * FROM mysql.user",
    b"CREATE VIEW `v` AS SELECT * FROM `MySQL` /* it's */ . `user`",
    b"CREATE TRIGGER `x` BEFORE INSERT ON `t` FOR EACH ROW INSERT INTO other.audit VALUES (1)",
    b"CREATE PROCEDURE `p`() SELECT * FROM shop.customers",
    b"CREATE FUNCTION `f`() RETURNS INT RETURN `other`.`f`()",
    b"CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY DO DELETE FROM other.t",
]


UNDER_SETTINGS = [
    (b"sql_mode='ANSI_QUOTES'", b'CREATE PROCEDURE `p`() SELECT * FROM "mysql"."user"'),
    (b"sql_mode='NO_BACKSLASH_ESCAPES'", b"CREATE PROCEDURE `p`() SELECT '\\', user FROM mysql.user WHERE '\\'=''"),
    (b"character_set_client='sjis'", b"CREATE PROCEDURE `p`() SELECT '\x83\\', user FROM mysql.user WHERE '\x83\\'=''"),
]


@pytest.mark.parametrize(("setting", "program"), UNDER_SETTINGS)
def test_a_program_is_read_as_the_server_reads_it_under_its_settings(
    store: Store, database: Database, setting: bytes, program: bytes
) -> None:
    programs = [b"SET SESSION " + setting, program]
    write_backup(store, tables=[T], rows=[], programs=programs)
    with pytest.raises(PermanentError, match="the procedure `p` of the backup names the schema mysql"):
        run(store, database)
    run(store, database, allow_cross_schema=True)


@pytest.mark.parametrize("program", NAMED)
def test_a_program_that_reaches_elsewhere_is_refused_unless_that_is_allowed(
    store: Store, database: Database, program: bytes
) -> None:
    database.ask("CREATE SCHEMA other")
    write_backup(store, tables=[T], rows=[], programs=[program])
    with pytest.raises(PermanentError, match="repeat with --allow-cross-schema"):
        run(store, database)
    assert "copy" not in database.schemas()
    if b"VIEW" not in program:
        run(store, database, allow_cross_schema=True)


@pytest.mark.parametrize(
    "program",
    [
        b"CREATE PROCEDURE `p`() SET @shop.x = @@session.sql_mode, @mysql.y = 'mysql.user'",
        b"CREATE TRIGGER `x` BEFORE INSERT ON `t` FOR EACH ROW SET NEW.b = USER()",
        b"CREATE VIEW `v` AS SELECT copy.t.a, t.b AS `mysql` FROM copy.t /* mysql.user */",
    ],
)
def test_a_program_that_stays_within_is_made(store: Store, database: Database, program: bytes) -> None:
    write_backup(store, tables=[T], rows=[], programs=[program])
    run(store, database)


def test_a_program_of_an_encrypted_backup_may_reach_elsewhere_but_not_from_a_copy_to_the_original(
    store: Store, database: Database
) -> None:
    database.ask("CREATE SCHEMA other")
    write_backup(store, tables=[T], rows=[], programs=[NAMED[2]], key=KEYS.first)
    run(store, database, keys=KEYS)
    write_backup(store, tables=[T], rows=[], programs=[NAMED[3]], key=KEYS.first)
    with pytest.raises(PermanentError, match="the procedure `p` of the backup names the schema shop"):
        run(store, database, keys=KEYS, replace=True)
    database.ask("DROP SCHEMA IF EXISTS shop")
    try:
        run(store, database, keys=KEYS, schema="shop")
    finally:
        database.ask("DROP SCHEMA IF EXISTS shop")


def test_only_chosen_tables_come_back_with_their_triggers(store: Store, database: Database, hostile: Manifest) -> None:
    restored = run(store, database, id=HOSTILE, keys=KEYS, tables=["film", "city", "un*"])
    assert restored.differences == []
    assert restored.tables == 4
    expected = database.describe("source")
    found = database.describe("copy")
    names = ("film", "city", "unseen", "unique_only")
    triggers = ("film_inserted", "film_deleted", "z_first", "y_second", "a_third", "x_before_all")
    objects = {
        object for object in found if object.partition(" ")[0] in {"TABLE", "ROWS", "VIEW", "TRIGGER", "PROCEDURE"}
    }
    assert objects == {
        *(f"{kind} {name}" for name in names for kind in ("TABLE", "ROWS")),
        *(f"TRIGGER {name}" for name in triggers),
    }
    assert all(expected[object] == found[object] for object in objects)
    with pytest.raises(InvalidRequestError, match="no table that matches nothing or none"):
        run(store, database, id=HOSTILE, keys=KEYS, tables=["nothing", "none"], schema="other")


@on_mariadb
def test_a_view_that_the_server_cannot_show_is_backed_up_as_it_is_listed(store: Store, database: Database) -> None:
    database.new_schema("other")
    connect = connector(database.url, schema="other")
    with closing(connect()) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (a INT PRIMARY KEY)")
        cursor.execute("CREATE SQL SECURITY INVOKER VIEW middle AS SELECT MEDIAN(1) OVER () AS m FROM t")
        cursor.execute("CREATE VIEW whole AS SELECT a FROM t")
    assert back_up(connect, store, keys=KEYS).broken_views == ("middle",)
    restored = run(store, database, keys=KEYS)
    (lost,) = restored.broken
    assert (lost.name, lost.was_broken) == ("the view `middle`", True)
    assert "4101" in lost.reason
    assert {"TABLE t", "VIEW whole"} <= database.describe("copy").keys()


@on_both
def test_the_definer_may_be_whoever_restores(store: Store, database: Database) -> None:
    programs = [
        b"CREATE DEFINER=`nobody`@`%` TRIGGER `x` BEFORE INSERT ON `t` FOR EACH ROW SET @a=1",
        b"CREATE ALGORITHM=MERGE DEFINER=`no``body`@`localhost` SQL SECURITY INVOKER VIEW `v` AS select 1 AS `1`",
        b"CREATE DEFINER=`role` PROCEDURE `p`() SELECT 'DEFINER=`nobody`@`%`'",
    ]
    write_backup(store, tables=[T], rows=[], programs=programs)
    database.new_user("owner")
    database.ask("GRANT ALL ON copy.* TO owner@localhost")
    with pytest.raises(
        ConfigurationError,
        match=r"creating the trigger `x`: the database user lacks a privilege: .*SET( USER|_ANY_DEFINER).*; grant it",
    ):
        run(store, database, options={"user": "owner"})
    run(store, database, options={"user": "owner"}, set_definer=True, replace=True)
    assert database.ask("SELECT DEFINER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA='copy'") == [
        ("owner@localhost",)
    ]
    assert database.ask("SELECT DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA='copy'") == [
        ("owner@localhost",)
    ]
    [(definer, body)] = database.ask(
        "SELECT DEFINER,ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA='copy'"
    )
    assert (definer, body) == ("owner@localhost", "SELECT 'DEFINER=`nobody`@`%`'")


@on_mysql
def test_a_server_that_trusts_no_maker_of_triggers_is_named_with_its_setting(store: Store, database: Database) -> None:
    trigger = b"CREATE DEFINER=`owner`@`localhost` TRIGGER `x` BEFORE INSERT ON `t` FOR EACH ROW SET @a=1"
    write_backup(store, tables=[T], rows=[], programs=[trigger])
    database.new_user("owner")
    database.ask("GRANT ALL ON copy.* TO owner@localhost")
    database.ask("SET GLOBAL log_bin_trust_function_creators = 0")
    try:
        with pytest.raises(ConfigurationError, match=r"creators = 1, on RDS in its parameter group$"):
            run(store, database, options={"user": "owner"})
    finally:
        database.ask("SET GLOBAL log_bin_trust_function_creators = 1")


def test_who_may_not_make_the_schema_is_told(store: Store, database: Database, small: Manifest) -> None:
    database.new_user("guest")
    with pytest.raises(ConfigurationError, match="creating the schema copy: the database user lacks a privilege"):
        run(store, database, options={"user": "guest"})


def test_a_restore_that_ran_out_of_time_goes_on_where_it_was(
    store: Store, database: Database, hostile: Manifest
) -> None:
    parts = sum(part.kind == "rows" for part in hostile.parts)
    with pytest.raises(OutOfTimeError):
        run(
            store,
            database,
            id=HOSTILE,
            keys=KEYS,
            allow_cross_schema=True,
            progress=Counting(parts // 2, run_out_of_time).progress,
        )
    [(before,)] = database.ask("SELECT COUNT(*) FROM copy.nightshift_restore WHERE step LIKE '%.zst.enc'")
    assert parts // 2 <= before < parts
    restored = run(store, database, id=HOSTILE, keys=KEYS, allow_cross_schema=True)
    assert restored.is_resumed
    assert restored.differences == []
    assert database.describe("copy") == database.describe("source")


def test_what_goes_on_reads_only_what_is_not_there(store: Store, database: Database, small: Manifest) -> None:
    half(store, database)
    # The largest table goes first.
    first = small.parts[1].name
    content = b"".join(store.read(key_of(ID, first)))
    store.put(key_of(ID, first), b"gone", content_type="text/plain")
    assert run(store, database).is_resumed
    assert database.ask("SELECT a FROM copy.t ORDER BY a") == [(1,), (2,), (3,)]
    store.put(key_of(ID, first), content, content_type="text/plain")


def test_a_restore_that_another_one_completed_meanwhile_is_told_so(
    store: Store, database: Database, small: Manifest
) -> None:
    half(store, database)
    checked: list[str] = []

    def complete(part: Part) -> None:
        checked.append(part.name)
        if len(checked) == 1:
            run(store, database)

    with pytest.raises(InvalidRequestError, match="copy is not empty"):
        run(store, database, progress=RestoreProgress(checked=complete, loaded=lambda _: None))
    checked.clear()
    database.ask("DROP SCHEMA copy")
    half(store, database)
    with pytest.raises(TransientError, match="was ended by another one; try again"):
        run(store, database, replace=True, progress=RestoreProgress(checked=complete, loaded=lambda _: None))


def test_a_restore_that_lost_the_database_goes_on_where_it_was(
    store: Store, database: Database, hostile: Manifest
) -> None:
    def kill_all() -> None:
        with closing(connector(database.url)()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT ID FROM information_schema.PROCESSLIST WHERE DB='copy'")
            for (id_,) in cursor.fetchall():
                cursor.execute(f"KILL {id_}")

    parts = sum(part.kind == "rows" for part in hostile.parts)
    with pytest.raises(
        TransientError, match=r"the database connection was lost, or the database is busy .*; try again"
    ):
        run(
            store,
            database,
            id=HOSTILE,
            keys=KEYS,
            allow_cross_schema=True,
            progress=Counting(parts // 2, kill_all).progress,
        )
    assert run(store, database, id=HOSTILE, keys=KEYS, allow_cross_schema=True).differences == []
    assert database.describe("copy") == database.describe("source")


def test_a_schema_with_half_a_restore_is_refused_to_any_other(
    store: Store, database: Database, small: Manifest
) -> None:
    half(store, database)
    before = database.describe("copy")
    refused = f"copy has an incomplete restore of backup {ID}: repeat the same restore"
    with pytest.raises(InvalidRequestError, match=refused):
        run(store, database, tables=["t"])
    # Of the same name, and another one.
    write_backup(store, tables=[T], rows=[])
    with pytest.raises(InvalidRequestError, match=refused):
        run(store, database)
    assert database.describe("copy") == before
    restored = run(store, database, replace=True)
    assert not restored.is_resumed
    assert database.ask("SELECT * FROM copy.t") == []
    assert "TABLE nightshift_restore" not in database.describe("copy")


def test_a_restore_that_failed_frees_the_schema_before_its_connection_is_closed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(connector(database.url)()) as connection, monkeypatch.context() as patch:
        # The server notices a closed connection only later.
        patch.setattr(connection, "close", lambda: None)
        with pytest.raises(OutOfTimeError), Target(lambda: connection, schema="copy").lock():
            run_out_of_time()
        with Target(connector(database.url), schema="copy").lock():
            assert connection.open


def test_a_restore_whose_lock_was_lost_ends_as_it_would_have(database: Database) -> None:
    connection = connector(database.url)()

    def lose_the_lock() -> None:
        database.ask(f"KILL {connection.thread_id()}")
        run_out_of_time()

    with pytest.raises(OutOfTimeError), Target(lambda: connection, schema="copy").lock():
        lose_the_lock()


def test_a_table_without_transactions_is_filled_anew(store: Store, database: Database) -> None:
    tables = [T.replace(b"InnoDB", b"MyISAM"), U]
    rows = [("t", 1, rows_of("t", b"(1,'x')")), ("t", 2, rows_of("t", b"(2,'y')", b"(3,'z')"))]
    write_backup(store, tables=tables, rows=rows)
    half(store, database)
    # Of a part that was never noted.
    database.ask("INSERT INTO copy.t VALUES (2,'half')")
    run(store, database)
    assert database.ask("SELECT * FROM copy.t ORDER BY a") == [(1, "x"), (2, "y"), (3, "z")]


def test_two_restores_into_one_schema_do_not_meet(store: Store, database: Database, small: Manifest) -> None:
    refusals = []

    def restore_too() -> None:
        try:
            run(store, database, replace=True)
        except TransientError as error:
            refusals.append(str(error))

    restored = run(store, database, progress=Counting(1, restore_too).progress)
    assert restored.differences == []
    assert refusals == ["another restore into copy is running; wait until it ends"]


def test_a_value_that_became_another_is_noticed(store: Store, database: Database) -> None:
    table = T.replace(b"varchar(20)", b"enum('x')")
    rows = [("t", 2, rows_of("t", b"(1,'x')", b"(2,'y')"))]
    write_backup(store, tables=[table], rows=rows, checksum="another")
    restored = run(store, database, by_checksum=False)
    assert restored.differences == ["the rows of t differ from the backup"]


def test_rows_that_do_not_fit_end_the_restore_with_the_servers_reason(store: Store, database: Database) -> None:
    write_backup(store, tables=[T], rows=[("t", 2, rows_of("t", b"(1,'x')", b"(1,'y')"))])
    for options in ({}, {"client_flag": 0}):
        with pytest.raises(PermanentError, match=r"Duplicate entry '1' for key '(t\.)?PRIMARY'"):
            run(store, database, options=options)
        assert database.ask("SELECT * FROM copy.t") == []
        assert database.ask("SELECT step FROM copy.nightshift_restore") == [("begun",), ("tables",)]


def test_rows_that_went_astray_are_noticed(store: Store, database: Database, small: Manifest) -> None:
    def steal() -> None:
        database.ask("DELETE FROM copy.t WHERE a=3")
        database.ask("DROP TABLE copy.u")

    parts = Counting(3, steal)
    assert run(store, database, by_checksum=False, progress=parts.progress).differences == [
        "t has 2 rows, and the backup 3",
        "the table u is missing",
    ]


def test_a_backup_may_hold_a_restore_that_was_not_complete(store: Store, database: Database, small: Manifest) -> None:
    half(store, database, schema="other")
    manifest = back_up(connector(database.url, schema="other"), store)
    assert "nightshift_restore" in {table.name for table in manifest.tables}
    half(store, database)
    restored = run(store, database)
    assert restored.is_resumed
    assert restored.differences == []
    assert database.describe("copy") == database.describe("other")


def test_a_restore_ends_when_a_part_can_no_longer_be_read(store: Store, database: Database, small: Manifest) -> None:
    content = b"".join(store.read(key_of(ID, small.parts[3].name)))

    def damage() -> None:
        store.put(key_of(ID, small.parts[3].name), content[:-1] + b"x", content_type="text/plain")

    with pytest.raises(DamagedError, match=f"{small.parts[3].name} of backup {ID} is damaged"):
        run(store, database, connections=1, progress=Counting(1, damage).progress)
    assert database.ask("SELECT a FROM copy.t ORDER BY a") == [(1,), (2,)]
    store.put(key_of(ID, small.parts[3].name), content, content_type="text/plain")
    run(store, database)
    assert database.ask("SELECT a FROM copy.t ORDER BY a") == [(1,), (2,), (3,)]


@on_both
def test_the_schema_may_be_called_anything(store: Store, database: Database, small: Manifest) -> None:
    schema = "e`v;i'l\n\u00fc %s"
    quoted = samples.quoted(schema)
    database.ask(f"DROP SCHEMA IF EXISTS {quoted}")
    half(store, database, schema=schema)
    assert run(store, database, schema=schema).is_resumed
    assert [row[0] for row in database.ask(f"SELECT a FROM {quoted}.t ORDER BY a")] == [1, 2, 3]
    database.ask(f"DROP SCHEMA {quoted}")


def test_a_user_needs_no_more_privileges_than_the_page_names(
    store: Store, database: Database, hostile: Manifest
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "backups.md").read_text(encoding="utf-8")
    privileges = page.partition("\n| a restore | `")[2].partition("`")[0]
    database.new_user("owner")
    database.ask(f"GRANT {privileges} ON copy.* TO owner@localhost")
    asked: dict[str, Any] = {
        "id": HOSTILE,
        "keys": KEYS,
        "allow_cross_schema": True,
        "set_definer": True,
        "options": {"user": "owner"},
    }
    with pytest.raises(OutOfTimeError):
        run(store, database, progress=Counting(20, run_out_of_time).progress, **asked)
    assert run(store, database, **asked).differences == []
