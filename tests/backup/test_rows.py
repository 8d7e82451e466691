"""A table's rows as SQL text: every value as it is, however the bytes come, counted and summed on the way."""

import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pymysql import err

from chalicelib.backup.connection import prepare_session, query_bytes
from chalicelib.backup.dump import rows as module
from chalicelib.backup.dump import wire
from chalicelib.backup.dump.rows import MIN_PACKET_BYTES, Rows
from chalicelib.backup.dump.tables import Table, read_tables
from chalicelib.core.errors import ConfigurationError, PermanentError
from tests.backup import samples
from tests.backup.everything import EVERY_BYTE, TRAPS
from tests.backup.whole import connector
from tests.servers import new_schema, on_both, series

PACKET = 16 << 20
ESCAPES = {0: r"\0", 10: r"\n", 13: r"\r", 26: r"\Z", 39: r"\'", 92: r"\\"}


@pytest.fixture(scope="module")
def server(server_url: str) -> Iterator[Any]:
    """A connection to an empty schema `rows`, with the settings of whoever fills it."""
    connection = connector(server_url, autocommit=True)()
    for statement in new_schema("rows"):
        query_bytes(connection, statement.encode())
    query_bytes(connection, b"USE `rows`")
    yield connection
    connection.close()


@pytest.fixture
def reader(server_url: str, server: Any) -> Iterator[Any]:
    """A connection that reads as a backup does."""
    connection = connector(server_url, schema="rows", autocommit=True)()
    prepare_session(connection)
    yield connection
    connection.close()


def table_of(reader: Any, name: str) -> Table:
    return next(table for table in read_tables(reader, "rows") if table.name == name)


def read(reader: Any, name: str, *, packet: int = PACKET) -> tuple[Rows, bytes]:
    rows = Rows(reader, table_of(reader, name), packet=packet)
    return rows, b"".join(rows.statements())


def make(server: Any, definition: str, *values: tuple[Any, ...]) -> str:
    """Make a table anew with rows of these values, and return its name."""
    name = definition.partition(" ")[0]
    with server.cursor() as cursor:
        cursor.execute("SET SESSION sql_mode=''")
        cursor.execute(f"DROP TABLE IF EXISTS {name}")
        cursor.execute(f"CREATE TABLE {definition}")
        for row in values:
            cursor.execute(f"INSERT INTO {name} VALUES ({','.join(['%s'] * len(row))})", row)
    return name


def literal(octets: bytes) -> bytes:
    """Write a value as the text should have it, by another way than the code under test."""
    escaped = "".join(ESCAPES.get(octet, chr(octet)) for octet in octets)
    return b"'" + escaped.encode("latin-1") + b"'"


def lines_of(text: bytes, head: bytes) -> list[bytes]:
    """Return the rows of statements that all begin with this head, each on its line."""
    statements = text.split(b";\n")
    assert statements.pop() == b""
    lines = []
    for statement in statements:
        first, *others = statement.split(b"\n")
        assert first == head
        assert all(line.endswith(b"),") for line in others[:-1])
        lines += [line.removesuffix(b",") for line in others]
    assert all(line[:1] == b"(" and line[-1:] == b")" for line in lines)
    return lines


@on_both
@pytest.mark.parametrize("shift", range(3))
@pytest.mark.parametrize("type_", ["TEXT", "LONGTEXT"])
def test_long_names_of_columns_in_other_scripts_are_never_cut_within_a_character(
    server: Any, reader: Any, shift: int, type_: str
) -> None:
    names = [shift * "a" + 60 * "\N{HIRAGANA LETTER A}" + end for end in "xy"]
    columns = ", ".join(f"`{name}` {type_}" for name in names)
    text = read(reader, make(server, f"scripts ({columns})", ("1", None)))[1]
    assert text.endswith(b"('1',NULL);\n")


@on_both
def test_numbers_are_bare_and_all_else_is_quoted(server: Any, reader: Any) -> None:
    row = (1, -128, None, "1.5", 0.1, 0.1, "7", 2026, b"\x05", "2026-02-29", "-838:59:59", "0000-00-00 00:00:00", "x")
    definition = (
        "t (a INT PRIMARY KEY, b TINYINT NOT NULL, c BIGINT, d DECIMAL(65,30), f FLOAT, g DOUBLE, z INT(4) ZEROFILL,"
        " y YEAR, bit BIT(3), d0 DATE, t TIME, dt DATETIME NOT NULL, e ENUM('x', 'y'))"
    )
    make(server, definition, row)
    rows, text = read(reader, "t")
    assert text == (
        b"INSERT INTO `t` (`a`,`b`,`c`,`d`,`f`,`g`,`z`,`y`,`bit`,`d0`,`t`,`dt`,`e`) VALUES\n"
        b"(1,-128,NULL,1.500000000000000000000000000000,0.10000000149011612,0.1,0007,2026,"
        b"'\x05','0000-00-00','-838:59:59','0000-00-00 00:00:00','x');\n"
    )
    assert rows.count == 1


def test_what_could_be_taken_for_an_end_is_escaped(server: Any, reader: Any) -> None:
    values = [EVERY_BYTE, EVERY_BYTE[::-1], *[text.encode() for text in TRAPS]]
    make(server, "t (id INT PRIMARY KEY, b LONGBLOB, v VARBINARY(300))", *[(n, v, v) for n, v in enumerate(values)])
    rows, text = read(reader, "t")
    expected = [b"(%d,%b,%b)" % (n, literal(value), literal(value)) for n, value in enumerate(values)]
    assert lines_of(text, b"INSERT INTO `t` (`id`,`b`,`v`) VALUES") == expected
    assert rows.count == len(values)
    assert not {0, 13, 26} & set(text)


@on_both
def test_a_text_is_the_bytes_of_its_own_character_set(server: Any, reader: Any) -> None:
    # In Shift-JIS the second byte of this character is a backslash.
    make(
        server,
        "t (s TEXT CHARACTER SET sjis, u TEXT CHARACTER SET utf16, l TEXT CHARACTER SET latin1)",
        ("能", "é", "é"),
    )
    _, text = read(reader, "t")
    assert text.endswith(b"VALUES\n('\x94\\\\','\\0\xe9','\xe9');\n")


@pytest.mark.parametrize("size", [1, 10, 100, 1000])
def test_what_looks_like_an_error_or_the_end_is_none(
    size: int, server: Any, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, end = b"\xff\x15\x04#28000Access denied", b"\x05\0\0\3\xfe\0\0\2\0"
    values = [error, end, (error + end) * 30_000, error * 20]
    make(server, "t (id INT PRIMARY KEY, a LONGBLOB)", *enumerate(values))
    monkeypatch.setattr(module, "STATEMENT_BYTES", size)
    _, text = read(reader, "t")
    expected = [b"(%d,%b)" % (number, literal(value)) for number, value in enumerate(values)]
    assert lines_of(text, b"INSERT INTO `t` (`id`,`a`) VALUES") == expected


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 64, 1000])
def test_however_the_bytes_come_the_text_is_the_same(
    size: int, server: Any, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rows of all lengths around those at which the length of a length changes, of lengths that look like an end, and
    # a few that are too long for one text.
    lengths = [*range(30), *range(240, 250), 0x1A1A]
    values = [(n, "x" * length, "y" if n % 3 else None) for n, length in enumerate(lengths)]
    if size >= 64:
        values += [(100 + n, "x" * length, "z") for n, length in enumerate([0x2C1A, *range(65520, 65530)])]
        values += [(1000 + n, "'" * (600_000 * (n % 2)), "z") for n in range(4)]
    make(server, "t (id INT PRIMARY KEY, a LONGTEXT, b VARCHAR(5))", *values)
    monkeypatch.setattr(module, "STATEMENT_BYTES", size)
    rows, text = read(reader, "t")
    expected = [
        b"(%d,%b,%b)" % (n, literal(a.encode()), b"NULL" if b is None else literal(b.encode())) for n, a, b in values
    ]
    assert lines_of(text, b"INSERT INTO `t` (`id`,`a`,`b`) VALUES") == expected
    assert rows.count == len(values)


def test_a_statement_has_a_megabyte_of_rows(server: Any, reader: Any) -> None:
    make(server, "t (id INT PRIMARY KEY, a TEXT NOT NULL)")
    query_bytes(server, f"INSERT INTO t SELECT seq, REPEAT('x', 1000) FROM {series(5000)}".encode())
    statements = list(Rows(reader, table_of(reader, "t"), packet=PACKET).statements())
    assert len(statements) == 5
    assert all(1_000_000 < len(statement) < 1_400_000 for statement in statements[:-1])


def test_an_empty_table_has_no_statement(server: Any, reader: Any) -> None:
    make(server, "t (id INT PRIMARY KEY, a LONGTEXT)")
    rows, text = read(reader, "t")
    assert (rows.count, text) == (0, b"")
    # The connection is free for the next.
    assert query_bytes(reader, b"SELECT 1") == [(1,)]


def test_a_row_of_several_packets_comes_in_pieces(server: Any, reader: Any) -> None:
    samples.fill_long(server)
    rows = Rows(reader, table_of(reader, "long_ones"), packet=PACKET)
    pieces = list(rows.statements())
    found = dict(
        query_bytes(reader, b"SELECT id, CONCAT_WS(',',SHA2(a,256),n,SHA2(b,256),c,SHA2(d,256)) FROM long_ones")
    )
    text = b"".join(pieces)
    lines = lines_of(text, b"INSERT INTO `long_ones` (`id`,`a`,`n`,`b`,`c`,`d`) VALUES")
    assert rows.count == len(lines) == len(found) == 6
    # No piece has more than twice what comes from the wire at once: every byte escaped.
    assert max(map(len, pieces)) < 3 << 20
    query_bytes(server, b"DROP TABLE long_ones")


def test_a_row_that_fills_a_packet_to_its_last_byte_is_read_to_its_end(server: Any, reader: Any) -> None:
    make(server, "t (id INT PRIMARY KEY, a LONGBLOB, b LONGBLOB)")
    # Beside the values a packet has the text LONG, the key, a comma's, and the lengths of all.
    for left in range(12, 20):
        a, b = 9_000_000, wire.FULL_PACKET - 9_000_000 - left
        query_bytes(server, b"INSERT INTO t VALUES (1, REPEAT('a', %d), REPEAT('b', %d)), (2, 'x', 'y')" % (a, b))
        rows, text = read(reader, "t")
        assert rows.count == 2
        assert len(text) == 2 * len(b"INSERT INTO `t` (`id`,`a`,`b`) VALUES\n(1,'','');\n") + a + b + 2
        assert query_bytes(reader, b"SELECT 1") == [(1,)]
        query_bytes(server, b"TRUNCATE TABLE t")


def test_rows_come_in_the_order_of_their_key(server: Any, reader: Any) -> None:
    make(server, "t (a INT, b VARCHAR(5), PRIMARY KEY (b, a)) ENGINE=MyISAM", (2, "b"), (1, "b"), (3, "a"))
    assert read(reader, "t")[1].endswith(b"VALUES\n(3,'a'),\n(1,'b'),\n(2,'b');\n")


KEYED = "(id INT PRIMARY KEY, a VARCHAR(20), f FLOAT)"
KEYLESS = "(id INT, a VARCHAR(20), f FLOAT)"
SOME = [(n, f"a\r\n{n}", n / 7) for n in range(500)]


@pytest.mark.parametrize("definition", [KEYED, KEYLESS])
def test_equal_rows_have_equal_checksums_wherever_they_are(
    definition: str, server: Any, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = read(reader, make(server, f"t {definition}", *SOME))[0].checksum
    monkeypatch.setattr(module, "STATEMENT_BYTES", 100)
    assert read(reader, make(server, f"u {definition}", *SOME[::-1]))[0].checksum == one


@pytest.mark.parametrize("definition", [KEYED, KEYLESS])
@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM t WHERE id = 7",
        "INSERT INTO t VALUES (1000, '', 0)",
        "UPDATE t SET a = NULL WHERE id = 7",
        "UPDATE t SET a = 'NULL' WHERE id = 7",
        "UPDATE t SET a = CONCAT(a, ' ') WHERE id = 7",
        # What a FLOAT shows of it stays the same.
        "UPDATE t SET f = 71.4285736 WHERE id = 500 - 1 OR id = 0",
        "UPDATE t x JOIN t y ON x.id + y.id = 15 SET x.a = CONCAT('a\r\n', y.id) WHERE x.id IN (7, 8)",
    ],
)
def test_any_other_row_gives_another_checksum(definition: str, change: str, server: Any, reader: Any) -> None:
    one = read(reader, make(server, f"t {definition}", *SOME))[0].checksum
    assert query_bytes(server, change.encode()) == []
    assert read(reader, "t")[0].checksum != one


def test_rows_without_a_key_are_summed_each_as_often_as_it_is_there(server: Any, reader: Any) -> None:
    sums = [
        read(reader, make(server, f"t {KEYLESS}", *[SOME[n] for n in numbers]))[0].checksum
        for numbers in ([1], [1, 1], [1, 1, 1], [1, 2, 2], [2, 1, 2], [2])
    ]
    assert sums[3] == sums[4]
    assert len(set(sums)) == 5


def test_a_long_row_counts_alike_wherever_its_pieces_end(
    server: Any, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for definition in ("t (id INT PRIMARY KEY, a LONGTEXT)", "t (id INT, a LONGTEXT)"):
        make(server, definition, (1, "short"), (2, "'\n" * 400_000), (3, "x"))
        one = read(reader, "t")[0].checksum
        with monkeypatch.context() as patched:
            patched.setattr(wire, "PIECE", 1000)
            assert read(reader, "t")[0].checksum == one


def test_an_error_amid_the_rows_is_raised_and_the_connection_can_be_used_again(server: Any, reader: Any) -> None:
    make(server, "t (id INT PRIMARY KEY, a TEXT NOT NULL)")
    query_bytes(server, f"INSERT INTO t SELECT seq, REPEAT('x', 10000) FROM {series(4000)}".encode())
    pieces = Rows(reader, table_of(reader, "t"), packet=PACKET).statements()
    next(pieces)
    query_bytes(server, b"KILL QUERY %d" % reader.thread_id())
    with pytest.raises(err.OperationalError, match="interrupted"):
        list(pieces)
    assert query_bytes(reader, b"SELECT 1") == [(1,)]


def test_a_connection_that_ends_amid_the_rows_is_an_error(server: Any, reader: Any) -> None:
    make(server, "t (id INT PRIMARY KEY, a TEXT NOT NULL)")
    query_bytes(server, f"INSERT INTO t SELECT seq, REPEAT('x', 10000) FROM {series(4000)}".encode())
    pieces = Rows(reader, table_of(reader, "t"), packet=PACKET).statements()
    next(pieces)
    query_bytes(server, b"KILL CONNECTION %d" % reader.thread_id())
    with pytest.raises(err.OperationalError):
        list(pieces)


@on_both
def test_a_server_that_says_nothing_for_too_long_is_an_error(server_url: str, server: Any) -> None:
    make(server, "t (id INT PRIMARY KEY)", (1,), (2,))
    with connector(server_url, schema="rows", read_timeout=0.2)() as reader:
        prepare_session(reader)
        table = table_of(reader, "t")
        query_bytes(server, b"LOCK TABLES t WRITE")
        with pytest.raises(err.OperationalError):
            list(Rows(reader, table, packet=PACKET).statements())
    query_bytes(server, b"UNLOCK TABLES")


def test_an_error_before_the_first_row_is_raised(server: Any, reader: Any) -> None:
    make(server, "t (id INT PRIMARY KEY)", (1,))
    table = table_of(reader, "t")
    query_bytes(server, b"ALTER TABLE t CHANGE id other INT")
    with pytest.raises(err.OperationalError, match="Unknown column"):
        list(Rows(reader, table, packet=PACKET).statements())


def test_a_row_for_which_the_server_has_no_text_is_never_left_out(server: Any, reader: Any) -> None:
    make(server, "t (id INT PRIMARY KEY, a INT)", (1, 1), (2, None), (3, 3))
    table = table_of(reader, "t")
    wrong = replace(table, columns=tuple(replace(column, is_nullable=False) for column in table.columns))
    with pytest.raises(PermanentError, match="no text for a row of the table 't'"):
        list(Rows(reader, wrong, packet=PACKET).statements())


def test_a_table_of_generated_columns_only_has_rows_that_nothing_tells_of(server: Any, reader: Any) -> None:
    make(server, "t (a INT AS (1))")
    with pytest.raises(PermanentError, match="all columns of the table 't' are generated"):
        Rows(reader, table_of(reader, "t"), packet=PACKET)


def test_a_server_with_too_short_packets_is_refused(server: Any, reader: Any) -> None:
    make(server, "t (id INT PRIMARY KEY)")
    with pytest.raises(ConfigurationError, match="max_allowed_packet of the server is 1,048,576 bytes"):
        Rows(reader, table_of(reader, "t"), packet=MIN_PACKET_BYTES // 2)


def test_a_table_may_be_as_wide_as_a_table_can_be(server: Any, reader: Any) -> None:
    # The longest text of a row whose values are all short, each of them escaped.
    columns = ",".join(f"c{n} VARBINARY(16000)" for n in range(4))
    make(server, f"t (id INT PRIMARY KEY, {columns})", (1, *[b"'" * 16000] * 4))
    rows, text = read(reader, "t", packet=MIN_PACKET_BYTES)
    assert rows.count == 1
    assert text.count(b"\\'") == 64_000


@on_both
def test_encrypted_connections_are_read_alike_and_statements_cut_alike(
    server_url: str, server: Any, reader: Any
) -> None:
    make(server, "t (id INT PRIMARY KEY, a TEXT NOT NULL)")
    query_bytes(server, f"INSERT INTO t SELECT seq, REPEAT('x', seq % 1000) FROM {series(20000)}".encode())
    with connector(server_url, schema="rows", ssl_disabled=False)() as encrypted:
        if not isinstance(encrypted._sock, ssl.SSLSocket):
            pytest.skip("this server does not encrypt")
        prepare_session(encrypted)
        one, other = (
            list(Rows(connection, table_of(reader, "t"), packet=PACKET).statements())
            for connection in (reader, encrypted)
        )
    assert len(one) > 8
    assert one == other
