"""Rows parts become rows: by a stream of data, by statements of literals, and never by anything else they hold."""

import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pymysql.constants import CLIENT
from sqlalchemy import make_url

from chalicelib.backup.restore.loading import (
    BATCH_BYTES,
    MAX_HEAD_BYTES,
    Loaded,
    RowLines,
    insert_rows,
    load_data,
    supports_load_data,
)
from chalicelib.core.errors import ConfigurationError, DamagedError
from tests.servers import is_mariadb, on_both

Server = Callable[..., "pymysql.Connection[Any]"]
HEAD = (
    b"SET NAMES binary;\n"
    b"SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO', foreign_key_checks=0, unique_checks=0, time_zone='+00:00';\n"
)
METHODS = pytest.mark.parametrize("method", [load_data, insert_rows])


@pytest.fixture
def server(server_url: str) -> Iterator[Server]:
    """Connections to an empty schema `loading`, one transaction each."""
    address = make_url(server_url)
    opened = []

    def connect(**options: Any) -> "pymysql.Connection[Any]":
        where: dict[str, Any] = {"host": address.host, "port": address.port, "user": address.username}
        opened.append(pymysql.connect(**where | {"client_flag": CLIENT.LOCAL_FILES} | options))
        with opened[-1].cursor() as cursor:
            cursor.execute("SET NAMES binary")
            cursor.execute("SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO', time_zone='+00:00'")
        return opened[-1]

    first = connect()
    ask(first, "DROP SCHEMA IF EXISTS loading")
    ask(first, "CREATE SCHEMA loading CHARACTER SET utf8mb4")
    yield connect
    for connection in opened:
        if connection.open:
            connection.close()


def ask(connection: "pymysql.Connection[Any]", statement: str | bytes) -> tuple[tuple[Any, ...], ...]:
    with connection.cursor() as cursor:
        cursor.execute(statement if isinstance(statement, str) else statement.decode())
        return tuple(cursor.fetchall())


def part(*rows: bytes, table: str = "t", columns: bytes = b"`a`,`b`", a_statement: int = 2) -> bytes:
    """Write rows as a part does, few to a statement."""
    start = b"INSERT INTO `%b` (%b) VALUES\n" % (table.replace("`", "``").encode(), columns)
    several = [rows[n : n + a_statement] for n in range(0, len(rows), a_statement)]
    return HEAD + b"".join(start + b",\n".join(some) + b";\n" for some in several)


def lines(text: bytes, *, table: str = "t", size: int = 1 << 20) -> RowLines:
    """Read a part in pieces of so many bytes."""
    return RowLines((text[n : n + size] for n in range(0, len(text), size)), table=table, part="00002.sql.zst")


ROWS = [b"(1,'x')", b"(2,NULL)", b"(-3,'it\\'s; \\\\ \\n \\r\\0\\Z\t\"(1),')", b"(4,'')", b"(5,'),')"]


def test_what_makes_statements_is_taken_off_wherever_the_text_is_cut() -> None:
    text = part(*ROWS)
    for size in range(1, len(text) + 1):
        assert b"".join(lines(text, size=size)) == b"".join(row + b",\n" for row in ROWS)


def test_a_column_may_be_called_anything() -> None:
    columns = b"`a;\n`,`INSERT INTO ``t`` (b) VALUES\n`"
    for size in range(1, 300):
        read = lines(part(*ROWS, columns=columns), size=size)
        assert read.columns == b"(" + columns + b")"
        assert b"".join(read) == b"".join(row + b",\n" for row in ROWS)


def test_rows_come_in_batches_of_whole_rows() -> None:
    rows = [b"(%d,'%b')" % (n, b"x" * random.Random(n).randrange(200_000)) for n in range(60)]
    rows[7] = b"(7,'%b')" % (b"long" * BATCH_BYTES)
    batches = list(lines(part(*rows, a_statement=1), size=300_000).batches(most=64 << 20))
    assert b",\n".join(batches).split(b",\n") == rows
    assert max(len(batch) for batch in batches if b"long" not in batch) < 2 * BATCH_BYTES
    assert len(batches) > 4


def test_of_a_row_that_is_too_long_only_the_beginning_is_kept() -> None:
    taken: list[int] = []

    def text() -> Iterator[bytes]:
        yield part(b"(1,'x")[:-2]
        for _ in range(1000):
            taken.append(1 << 20)
            yield b"x" * (1 << 20)

    [batch] = RowLines(text(), table="t", part="00002.sql.zst").batches(most=16 << 20)
    assert 16 << 20 < len(batch) <= 18 << 20
    assert sum(taken) < 18 << 20


@pytest.mark.parametrize(
    "text",
    [
        b"",
        HEAD,
        part(*ROWS)[:-1],
        part(*ROWS)[:-2],
        part(*ROWS)[:-10],
        part(*ROWS) + b"\n",
        part(*ROWS) + b"DROP TABLE t;\n",
        part(*ROWS) + part(*ROWS),
        part(*ROWS) + part(*ROWS, table="u").removeprefix(HEAD),
        part(*ROWS) + part(*ROWS, columns=b"`b`,`a`").removeprefix(HEAD),
        part(*ROWS, table="u"),
        part(*ROWS).replace(b"INTO `t`", b"INTO `mysql`.`t`"),
        part(*ROWS).replace(b"INTO `t`", b"INTO t"),
        part(*ROWS).replace(b"INSERT INTO", b"REPLACE INTO"),
        part(*ROWS, columns=b"`a`,@b"),
        part(*ROWS, columns=b"`a`,`b`) SET a=("),
        part(b"(1,2);\nDROP TABLE t"),
        HEAD * (MAX_HEAD_BYTES // len(HEAD) + 2),
    ],
)
def test_a_text_that_is_not_rows_of_the_table_is_refused(text: bytes) -> None:
    with pytest.raises(DamagedError, match=r"^00002.sql.zst is damaged: it contains more than rows of t$"):
        for _ in lines(text):
            pass


@pytest.mark.parametrize(
    "row",
    [
        b"(1,(SELECT 1))",
        b"(1,SLEEP(100))",
        b"(1,@@version)",
        b"(1,a)",
        b"(1,'x') ON DUPLICATE KEY UPDATE a=2",
        b"(1,'x'),(2,'y')",
        b"(1,'x'),\n\n(2,'y')",
        b"(1,'x'",
        b"(1,'x)",
        b"(1,'x\\')",
        b"(1,'x''')",
        b"(1,'x' 'y')",
        b'(1,"x")',
        b"(1,x'00')",
        b"(1,1--1)",
        b"(1,'x')/**/",
        b"(1,)",
        b"()",
        b"1,2",
        b"",
    ],
)
def test_a_statement_has_only_literals(row: bytes) -> None:
    for rows in ([row], [*ROWS, row], [row, *ROWS]):
        with pytest.raises(DamagedError):
            list(lines(part(*rows)).batches(most=64 << 20))


EVERY_TYPE = {
    "id": "INT PRIMARY KEY",
    "flag": "BIT(1)",
    "bits": "BIT(64)",
    "small": "TINYINT UNSIGNED ZEROFILL",
    "big": "BIGINT UNSIGNED",
    "exact": "DECIMAL(65,30)",
    "single": "FLOAT",
    "fixed": "FLOAT(10,3)",
    "double": "DOUBLE",
    "day": "DATE",
    "at": "DATETIME(6)",
    "stamp": "TIMESTAMP(3) NULL",
    "time": "TIME(6)",
    "year": "YEAR",
    "char": "CHAR(5)",
    "text": "LONGTEXT",
    "latin": "VARCHAR(300) CHARACTER SET latin1",
    "wide": "VARCHAR(40) CHARACTER SET utf32",
    "kanji": "VARCHAR(40) CHARACTER SET sjis",
    "chinese": "TEXT CHARACTER SET gbk",
    "raw": "BINARY(4)",
    "bytes": "LONGBLOB",
    "one": "ENUM('a','it''s','\u00fc')",
    "some": "SET('a','b','\u00fc')",
    "json": "JSON",
    "place": "GEOMETRY",
    "spot": "POINT",
    "vector": "VECTOR(2)",
}
ON_MARIADB = {"uuid": "UUID", "host": "INET6"}
QUOTED = {0: b"\\0", 10: b"\\n", 13: b"\\r", 26: b"\\Z", 39: b"\\'", 92: b"\\\\"}


def literal(value: bytes | str | None) -> bytes:
    """Write a value as a part has it: bytes in quotes, a number as it is."""
    if isinstance(value, bytes):
        return b"'" + b"".join(QUOTED.get(byte, bytes([byte])) for byte in value) + b"'"
    return b"NULL" if value is None else value.encode()


def rows_of_every_type() -> list[dict[str, bytes | str | None]]:
    every_byte = bytes(range(256))
    point = b"\0\0\0\0\x01\x01\0\0\0" + b"\0\0\0\0\0\0\xf0?" * 2
    full: dict[str, bytes | str | None] = {
        "id": "0",
        "flag": b"\x01",
        "bits": b"\x00'\\\n\r\x1a\xff\x00",
        "small": "007",
        "big": "18446744073709551615",
        "exact": "-" + "9" * 35 + "." + "1" * 30,
        "single": "1.100000023841858",
        "fixed": "1234567.125",
        "double": "1.7976931348623157e308",
        "day": b"0000-00-00",
        "at": b"9999-12-31 23:59:59.999999",
        "stamp": b"2038-01-19 03:14:07.999",
        "time": b"-838:59:59.000000",
        "year": "1901",
        "char": "\U0001f600\u00fc".encode(),
        "text": "".join(chr(n) for n in range(0x3000)).encode() * 3,
        "latin": every_byte,
        "wide": "a'\\\n\U0001f600".encode("utf-32-be"),
        "kanji": "\u30bd\u8868\u80fd".encode("shift_jis"),
        "chinese": "\u7e97\u8a98\\'".encode("gbk"),
        "raw": b"\0\n'\\",
        "bytes": every_byte * 9,
        "one": b"it's",
        "some": "a,\u00fc".encode(),
        "json": b'{"a": "\\\\u0000 \\n\'"}',
        "place": point,
        "spot": point,
        "vector": b"\0\0\x80?\0\0\x80\xbf",
    }
    empty: dict[str, bytes | str | None] = dict.fromkeys(EVERY_TYPE) | {"id": "-1"}
    small: dict[str, bytes | str | None] = {
        "id": "1",
        "flag": b"\0",
        "bits": b"\0" * 8,
        "exact": "0.000000000000000000000000000000",
        "single": "1.1754943508222875e-38",
        "double": "-5e-324",
        "day": b"2024-00-00",
        "at": b"0000-00-00 00:00:00.000000",
        "stamp": b"0000-00-00 00:00:00.000",
        "time": b"00:00:00.000001",
        "year": "0000",
        "char": b"",
        "text": b"NULL",
        "bytes": b"\\N",
        "latin": b"),\n(",
        "raw": b"\0" * 4,
        "one": b"a",
        "some": b"",
        "json": b"null",
    }
    return [empty, full, empty | small]


@on_both
@METHODS
def test_a_value_of_every_type_arrives_as_it_was_written(server: Server, method: Callable[..., Loaded]) -> None:
    connection = server()
    types, rows = dict(EVERY_TYPE), rows_of_every_type()
    if is_mariadb(connection):
        types |= ON_MARIADB
        rows[1] |= {
            "uuid": bytes.fromhex("123e4567e89b12d3a456426655440000"),
            "host": bytes.fromhex("00000000000000000000ffffc0000201"),
        }
    elif method is load_data:
        # It refuses binary text, so that rows with it are never streamed.
        del types["json"]
    ask(connection, f"CREATE TABLE loading.t ({', '.join(f'`{name}` {of}' for name, of in types.items())})")

    def written(row: dict[str, bytes | str | None], name: str) -> bytes:
        value = literal(row.get(name))
        return b"_utf8mb4" + value if name == "json" and value != b"NULL" and not is_mariadb(connection) else value

    text = part(
        *(b"(" + b",".join(written(row, name) for name in types) + b")" for row in rows),
        columns=b",".join(b"`%b`" % name.encode() for name in types),
    )
    done = method(connection, lines(text), table=b"`loading`.`t`")
    assert done == Loaded(rows=3, warning=None)
    values = ", ".join(f"CAST({'single + 0e0' if name == 'single' else f'`{name}`'} AS BINARY)" for name in types)
    found = ask(connection, f"SELECT {values} FROM loading.t ORDER BY id")
    for taken, row in zip(found, rows, strict=True):
        expected = {name: value.encode() if isinstance(value := row.get(name), str) else value for name in types}
        assert dict(zip(types, taken, strict=True)) == expected


def make_table(connection: "pymysql.Connection[Any]", *, definition: str = "a INT PRIMARY KEY, b VARCHAR(20)") -> None:
    ask(connection, f"CREATE TABLE loading.t ({definition})")


@on_both
@METHODS
def test_what_the_server_changes_is_told(server: Server, method: Callable[..., Loaded]) -> None:
    connection = server()
    make_table(connection, definition="a INT PRIMARY KEY, b ENUM('x')")
    done = method(connection, lines(part(b"(1,'x')", b"(2,'')", a_statement=1)), table=b"loading.t")
    assert done.rows == 2
    assert done.warning is not None
    assert "Data truncated for column 'b'" in done.warning


def test_rows_that_a_stream_cannot_bring_in_are_not_counted(server: Server) -> None:
    connection = server()
    make_table(connection)
    done = load_data(connection, lines(part(b"(1,'x')", b"(1,'y')", b"2,'z'")), table=b"loading.t")
    assert done.rows == 1
    assert ask(connection, "SELECT a, b FROM loading.t") == ((1, b"x"),)


@METHODS
def test_nothing_is_left_where_the_text_breaks_off(server: Server, method: Callable[..., Loaded]) -> None:
    connection = server()
    make_table(connection)

    def broken() -> Iterator[bytes]:
        yield part(*(b"(%d,'x')" % n for n in range(100_000)))[:-20]
        raise DamagedError("it broke off")

    connection.begin()
    with pytest.raises(DamagedError, match="it broke off"):
        method(connection, RowLines(broken(), table="t", part="00002.sql.zst"), table=b"loading.t")
    connection.rollback()
    assert ask(connection, "SELECT COUNT(*) FROM loading.t") == ((0,),)


@METHODS
def test_nothing_is_left_where_the_process_ends(server: Server, method: Callable[..., Loaded]) -> None:
    connection, other = server(), server()
    make_table(connection)

    text = part(*(b"(%d,'x')" % n for n in range(100_000)))

    def broken() -> Iterator[bytes]:
        yield text[:-20]
        connection._sock.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
        yield text[-20:]

    connection.begin()
    with pytest.raises(pymysql.err.OperationalError):
        method(connection, RowLines(broken(), table="t", part="00002.sql.zst"), table=b"loading.t")
    # It waits for the end of what the server undoes.
    ask(other, "LOCK TABLES loading.t READ")
    assert ask(other, "SELECT COUNT(*) FROM loading.t") == ((0,),)


def test_a_row_may_be_longer_than_a_statement(server: Server) -> None:
    connection = server()
    make_table(connection, definition="a INT PRIMARY KEY, b LONGBLOB")
    [[longest]] = ask(connection, "SELECT @@max_allowed_packet")
    text = part(b"(1,'%b')" % (b"x" * (longest + 1)), b"(2,'y')")
    assert load_data(connection, lines(text), table=b"loading.t") == Loaded(rows=2, warning=None)
    assert ask(connection, "SELECT LENGTH(b) FROM loading.t ORDER BY a") == ((longest + 1,), (1,))
    with pytest.raises(ConfigurationError, match=rf"and max_allowed_packet of the server is {longest:,}: raise it"):
        insert_rows(connection, lines(text), table=b"loading.t")


def test_streams_are_taken_where_both_sides_allow_them(server: Server) -> None:
    connection = server()
    assert supports_load_data(connection)
    assert not supports_load_data(server(client_flag=0))
    ask(connection, "SET GLOBAL local_infile = OFF")
    try:
        assert not supports_load_data(server())
    finally:
        ask(connection, "SET GLOBAL local_infile = ON")


def test_no_file_goes_to_a_server_that_asks_for_one(server: Server, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("(1,'secret'),\n")
    connection = server()
    make_table(connection)
    with pytest.raises(RuntimeError, match="LOAD_LOCAL"):
        ask(connection, f"LOAD DATA LOCAL INFILE '{secret}' INTO TABLE loading.t")
