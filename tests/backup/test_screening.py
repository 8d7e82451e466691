"""The definitions of a backup without a key: real schemas pass, and nothing that reaches beyond its schema does."""

from contextlib import closing

import pytest

from chalicelib.backup.restore.screening import Limits, screen
from chalicelib.backup.restore.statements import Statements
from chalicelib.core.errors import DamagedError, PermanentError
from chalicelib.core.store import Store
from tests.backup import rich
from tests.backup.archives import KEYS
from tests.backup.restoring import Database, T, run
from tests.backup.whole import back_up, connector, definitions, write_backup
from tests.servers import on_mysql

UNTRUSTED = Limits(is_trusted=False, is_foreign=lambda schema: schema != "copy")


def refused(statement: bytes, *settings: bytes) -> str:
    """Return why a statement is refused, and see that it is."""
    with pytest.raises(PermanentError) as caught:
        screen(Statements(definitions(*settings, statement), part="00001.sql.zst"), UNTRUSTED)
    return str(caught.value)


def passes(statement: bytes) -> None:
    screen(Statements(definitions(statement), part="00001.sql.zst"), UNTRUSTED)


@pytest.mark.parametrize("kind", ["mysql", "mariadb"])
def test_everything_that_a_schema_may_define_is_restored_without_a_key(
    store: Store, kind: str, request: pytest.FixtureRequest
) -> None:
    server = Database(request.getfixturevalue(f"{kind}_url"))
    for statement in ("DROP SCHEMA IF EXISTS rich", "DROP SCHEMA IF EXISTS copy", "CREATE SCHEMA rich"):
        server.ask(statement)
    connect = connector(server.url, schema="rich")
    with closing(connect()) as connection, connection.cursor() as cursor:
        for statement in rich.MYSQL if kind == "mysql" else rich.MARIADB:
            cursor.execute(statement)
    back_up(connect, store)
    restored = run(store, server, programs=None)
    assert restored.differences == []
    before, after = (
        {
            (what, name): server.ask(f"SHOW CREATE {what} {schema}.{name}")[0][1].replace(f"`{schema}`.", "")
            for what, name in server.ask(
                "SELECT IF(TABLE_TYPE IN ('VIEW','SEQUENCE'),TABLE_TYPE,'TABLE'),TABLE_NAME"
                f" FROM information_schema.TABLES WHERE TABLE_SCHEMA='{schema}'"
            )
        }
        for schema in ("rich", "copy")
    )
    assert len(before) > 15
    assert after == before
    server.ask("DROP SCHEMA rich")
    server.ask("DROP SCHEMA copy")


def view(query: bytes) -> bytes:
    return b"CREATE ALGORITHM=UNDEFINED DEFINER=`root`@`localhost` SQL SECURITY DEFINER VIEW `v` AS " + query


def table(column: bytes, behind: bytes = b" ENGINE=InnoDB") -> bytes:
    return b"CREATE TABLE `t` (\n  `a` int,\n  " + column + b"\n)" + behind


CALLS = [
    b"lambda_sync('arn:aws:lambda:eu-west-1:1:function:f','{}')",
    b"LAMBDA_ASYNC ('arn','{}')",
    b"sys_exec('id')",
    b"sys_eval('id')",
    b"load_file('/etc/passwd')",
    b"`load_file`('/etc/passwd')",
    b"`LOAD_FILE` ('/etc/passwd')",
    b"\nload_file\n(\n'/etc/passwd')",
    b"concat('(', load_file('/etc/passwd'))",
    b"sleep(9)",
    b"benchmark(1000000000,sha2('x',512))",
    b"get_lock('x',9)",
    b"setval(`s`,1)",
    b"`other`.`f`(1)",
    b"other.abs(1)",
    b"`own`(1)",
    b"asynchronous_connection_failover_reset()",
    b"1abc(2)",
    b"\xc3\xbcber(2)",
]
HIDDEN_CALLS = [
    b"load_file/**/('/etc/passwd')",
    b"load_file/*!99999 abs*/('/etc/passwd')",
    b"abs/*!50000 (load_file*/('/etc/passwd'))",
    b"load_file --\n('/etc/passwd')",
    b"load_file#\n('/etc/passwd')",
    b"1 --\x01 '\n,load_file('/etc/passwd') -- '",
    b'"a\\" , load_file(\'/etc/passwd\') , "',
    b"/*+ x('*/') */ load_file('/etc/passwd') -- ')",
    b"'\\' , load_file('/etc/passwd') , '",
]


@pytest.mark.parametrize("call", CALLS)
def test_a_function_that_is_not_known_to_stay_within_is_refused(call: bytes) -> None:
    for statement in (
        view(b"select " + call + b" AS `x`"),
        view(b"select 1 AS `x` from `t` where (`a` = " + call + b")"),
        table(b"`b` text DEFAULT (" + call + b")"),
        table(b"`b` text GENERATED ALWAYS AS (" + call + b") STORED"),
        table(b"KEY `k` ((" + call + b"))"),
        table(b"CONSTRAINT `c` CHECK (" + call + b")"),
        table(b"KEY `a` (`a`)", b" ENGINE=InnoDB PARTITION BY HASH (" + call + b")"),
    ):
        assert "calls" in refused(statement)


@pytest.mark.parametrize("call", HIDDEN_CALLS)
def test_no_call_hides_in_a_comment_or_a_text(call: bytes) -> None:
    for mode in (b"", b"ANSI_QUOTES", b"NO_BACKSLASH_ESCAPES"):
        setting = b"SET SESSION sql_mode='" + mode + b"'"
        if call.startswith(b"'") and mode != b"NO_BACKSLASH_ESCAPES":
            # One text, as the server reads it then.
            continue
        refused(view(b"select " + call + b" AS `x`"), setting)
        refused(table(b"`b` text DEFAULT (" + call + b")"), setting)


@pytest.mark.parametrize(
    "query",
    [
        b"select `user`.`x` AS `x` from `mysql`.`user`",
        b"select 1 AS `x` from (`t` join `other`.`t` `u`)",
        b"select 1 AS `x` from `t` `other`, `other`.`t`",
        b"select 1 AS `x` from `t` left join `other`.`t` on (1)",
        b"select 1 AS `x` from `t` join `u` on (`t`.`a` = `u`.`a`), `other`.`t`",
        b"select (select max(`a`) from `other`.`t`) AS `x`",
        b"select 1 AS `x` from (select `a` from ((`other`.`t`))) `d`",
        b"select 1 AS `x` union select `a` from `other`.`t`",
        b"with `c` as (select * from other . t) select 1 AS `x` from `c`",
        b"select 1 AS `x` from `t` straight_join `other`.`t`",
        b"table `other`.`t`",
        b"select nextval(`other`.`s`) AS `x`",
        b"select next value for `other`.`s` AS `x`",
        b"select extract(year from (select `a` from `other`.`t`)) AS `x`",
    ],
)
def test_a_view_of_another_schemas_rows_is_refused(query: bytes) -> None:
    assert "names the schema" in refused(view(query))


@pytest.mark.parametrize(
    "query",
    [
        b"select `other`.`a` AS `mysql` from `t` `other` where (`other`.`a` > 1)",
        b"select extract(year from `other`.`a`) AS `x`,trim(leading 'x' from `other`.`b`) AS `y` from `t` `other`",
        b"select `mysql`.`a` AS `a` from (`copy`.`t` `mysql` join `u` on((1 = `u`.`a`))) order by `u`.`a`,`mysql`.`b`",
    ],
)
def test_an_alias_may_be_called_as_a_schema_is(query: bytes) -> None:
    passes(view(query))


@pytest.mark.parametrize(
    "query",
    [
        b"select 'x' AS `x` into outfile '/tmp/x'",
        b"select 'x' AS `x` into dumpfile '/tmp/x'",
        b"select 1 AS `x` into @x",
        b"select 1 AS `x`; DROP TABLE `t`",
        b"select 1 AS `x` from { oj `other`.`t` left join `u` on (1) }",
        b"select 1 AS `x` /*!50000 into outfile '/tmp/x' */",
        b"select 1 AS `x` /*M! into outfile '/tmp/x' */",
        b"select 'not closed",
        b"select (1 AS `x`",
    ],
)
def test_a_view_only_reads(query: bytes) -> None:
    refused(view(query))


@pytest.mark.parametrize(
    "behind",
    [
        b" ENGINE=FEDERATED",
        b" ENGINE = `CONNECT`",
        b" /*!50100 ENGINE=SPIDER*/",
        b" ENGINE/*!99999 =InnoDB*/=FEDERATED",
        b" ENGINE=InnoDB CONNECTION='mysql://root@127.0.0.1/mysql/user'",
        b" ENGINE=MyISAM DATA DIRECTORY='/tmp/'",
        b" ENGINE=InnoDB /*!50100 INDEX DIRECTORY='/tmp/'*/",
        b" ENGINE=InnoDB SELECT 1 AS `a`",
        b" ENGINE=InnoDB AS TABLE `mysql`.`user`",
        b" ENGINE=MRG_MyISAM UNION=(`mysql`.`user`)",
        b" ENGINE=InnoDB PARTITION BY HASH (`a`) (PARTITION p0 DATA DIRECTORY='/tmp/' ENGINE=InnoDB)",
        b" ENGINE=InnoDB PARTITION BY HASH (`a`) (PARTITION p0 ENGINE=SPIDER)",
        b" ENGINE=InnoDB; DROP TABLE `u`",
        b" /*!99999 ( */ CONNECTION='x' /*!99999 ) */",
        b" ENGINE=InnoDB COMMENT='x' /* ENGINE=FEDERATED */",
        b" ENGINE=InnoDB TABLE_TYPE=CSV FILE_NAME='/etc/passwd'",
        b" ENGINE=lakehouse ENGINE_ATTRIBUTE='{}'",
    ],
)
def test_a_table_whose_rows_are_elsewhere_is_refused(behind: bytes) -> None:
    refused(table(b"`b` int", behind))
    refused(table(b"FOREIGN KEY (`a`) REFERENCES `mysql`.`x` (`a`)"))


@pytest.mark.parametrize(
    "statement",
    [
        b"RESTART",
        b"SHUTDOWN",
        b"CLONE LOCAL DATA DIRECTORY = '/tmp/clone'",
        b"CLONE INSTANCE FROM root@127.0.0.1:3306 IDENTIFIED BY 'x'",
        b"ALTER INSTANCE ROTATE INNODB MASTER KEY",
        b"SET PERSIST_ONLY max_connections=1",
        b"SET PERSIST max_connections=1",
        b"SET @@persist_only.max_connections=1",
        b"SET SESSION sql_mode='',PERSIST_ONLY max_connections=1",
        b"SET SESSION sql_mode=(SELECT load_file('/etc/passwd'))",
        b"CREATE FUNCTION `f` RETURNS STRING SONAME 'udf.so'",
        b"CREATE AGGREGATE FUNCTION `f` RETURNS INTEGER /*!50000 SONAME */ 'udf.so'",
        b"INSTALL PLUGIN x SONAME 'x.so'",
        b"LOAD DATA INFILE '/etc/passwd' INTO TABLE `t`",
        b"SELECT 1 INTO OUTFILE '/tmp/x'",
        b"SELECT lambda_sync('arn','{}')",
        b"DO sleep(9)",
        b"CALL `p`()",
        b"DROP TABLE `t`",
        b"INSERT INTO `t` VALUES (1)",
        b"IMPORT TABLE FROM '/tmp/x.sdi'",
        b"CREATE TABLESPACE x ADD DATAFILE '/tmp/x.ibd'",
        b"CREATE LIBRARY `l` LANGUAGE JAVASCRIPT AS $$ x $$",
        b"DELIMITER //",
        b"/*!50000 RESTART */",
        b"/*M! SHUTDOWN */",
        b"SET SESSION sql_mode='';\nRESTART",
        b"ALTER DATABASE COLLATE utf8mb4_bin; RESTART",
        b"DO SETVAL(`s`,1,0); RESTART",
        b"",
    ],
)
def test_no_other_kind_of_statement_is_read_at_all(statement: bytes) -> None:
    with pytest.raises(DamagedError):
        list(Statements(definitions(statement), part="00001.sql.zst"))


@on_mysql
def test_a_materialized_view_is_restored_as_one(store: Store, database: Database) -> None:
    database.new_schema("other")
    database.ask("CREATE TABLE other.t (a INT)")
    database.ask("CREATE MATERIALIZED VIEW other.v AS SELECT a FROM other.t")
    back_up(connector(database.url, schema="other"), store, keys=KEYS)
    restored = run(store, database, keys=KEYS, programs=None)
    assert (restored.differences, restored.broken) == ([], [])
    assert " MATERIALIZED " in database.ask("SHOW CREATE VIEW copy.v")[0][1]


PROGRAMS = [
    b"CREATE EVENT `e` ON SCHEDULE EVERY 1 DAY DISABLE DO DROP TABLE `t`",
    b"CREATE TRIGGER `x` BEFORE INSERT ON `t` FOR EACH ROW SET NEW.b = 'told'",
    b"CREATE PROCEDURE `p`() SET PERSIST_ONLY max_connections=1",
    b"CREATE PROCEDURE `p`() RESTART",
    b"CREATE PROCEDURE `p`() BEGIN SET @a = 'DROP TABLE x'; PREPARE s FROM @a; EXECUTE s; END",
    b"CREATE FUNCTION `f`() RETURNS INT DETERMINISTIC RETURN 1",
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_without_a_key_are_restored_only_on_request(store: Store, database: Database, program: bytes) -> None:
    write_backup(store, tables=[T], rows=[], programs=[program])
    with pytest.raises(
        PermanentError, match=r"programs that run with their definers' rights \(1 \w+\): if you trust it"
    ):
        run(store, database, programs=None)
    assert "copy" not in database.schemas()
    assert refused(program)
    restored = run(store, database, programs=False)
    assert restored.differences == []
    assert set(database.describe("copy")) == {"SCHEMA", "TABLE t", "ROWS t", "ORDER OF TRIGGERS"}
    database.ask("DROP SCHEMA copy")
    # MariaDB knows neither.
    if b"RESTART" not in program and b"PERSIST" not in program:
        run(store, database, programs=True)
        assert len(database.describe("copy")) > 4


def test_programs_under_a_key_are_restored_unless_they_are_to_be_left_out(store: Store, database: Database) -> None:
    write_backup(store, tables=[T], rows=[], programs=[PROGRAMS[1]], key=KEYS.first)
    run(store, database, keys=KEYS, programs=None)
    assert "TRIGGER x" in database.describe("copy")
    database.ask("DROP SCHEMA copy")
    assert run(store, database, keys=KEYS, programs=False).differences == []
    assert "TRIGGER x" not in database.describe("copy")
