"""A schema that a backup must bring back whole: a shop, every type, every character, hostile names and programs.

`fill` puts it into an empty schema, `fill_long` adds rows that take several packets, and `describe` tells everything of
a schema, so that two can be compared.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from pymysql.connections import Connection
from pymysql.err import MySQLError

from tests.backup import everything, only_mariadb, only_mysql, shop
from tests.servers import is_mariadb


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    return "`" + name.replace("`", "``") + "`"


def fill(connection: "Connection[Any]", schema: str) -> None:
    """Put everything into the connection's empty schema, whose name this is."""
    with connection.cursor() as cursor:
        cursor.execute("SET NAMES utf8mb4")
        cursor.execute("SET SESSION sql_mode='', foreign_key_checks=0, time_zone='+00:00'")
        # MySQL lets a transaction write to tables with transactions or to others, never to both.
        connection.autocommit(True)
        own = only_mariadb if is_mariadb(connection) else only_mysql
        for statement in [*shop.TABLES, *everything.TABLES, *own.TABLES, *shop.ROWS, *everything.ROWS, *own.ROWS]:
            cursor.execute(statement)
        connection.begin()
        _fill_texts(cursor)
        _fill_charsets(cursor)
        _fill_hostile_table(cursor)
        for statement in shop.PROGRAMS:
            cursor.execute(statement)
        create(connection, [*everything.PROGRAMS, *own.PROGRAMS], schema=schema)
        # A program keeps the schema's collation of its time.
        cursor.execute("SELECT @@collation_database")
        [(collation,)] = cursor.fetchall()
        cursor.execute("ALTER DATABASE COLLATE latin1_german1_ci")
        cursor.execute(everything.OTHER_COLLATION)
        cursor.execute(f"ALTER DATABASE COLLATE {collation}")
    connection.commit()


def create(connection: "Connection[Any]", programs: list[tuple[str, str]], *, schema: str) -> None:
    """Create programs, each under settings of its own, by a client of the character set that these name."""
    names = {"schema": schema, "hostile": everything.HOSTILE, "hostile_table": everything.HOSTILE_TABLE}
    for settings, statement in programs:
        for name, value in names.items():
            statement = statement.replace("{" + name + "}", value if name == "schema" else quoted(value))
        charset = settings.partition("NAMES ")[2] or "utf8mb4"
        connection.query(f"SET {settings}".encode())
        connection.query(statement.encode({"utf8mb4": "utf-8"}.get(charset, charset)))
        connection.query(b"SET NAMES utf8mb4, SESSION sql_mode='', time_zone='+00:00'")


def fill_long(connection: "Connection[Any]") -> None:
    """Add rows that take several packets, in columns of text and bytes."""
    every_byte = f"X'{everything.EVERY_BYTE.hex()}'"
    rows = [
        ("1", "'short'", "1", "'short'", "''", "NULL"),
        ("2", "REPEAT('ü''\\\\\\n\\r\\0\\Z', 100000)", "NULL", f"REPEAT({every_byte}, 4096)", "'x\\ny'", "'d'"),
        ("3", "NULL", "3", f"REPEAT({every_byte}, 36864)", "''''", "REPEAT('x', 9000000)"),
        ("4", "''", "4", "''", "''", "''"),
        ("5", "REPEAT('y', 9000000)", "5", "''", "''", "REPEAT('z', 9000000)"),
        ("6", "REPEAT('z', 600000)", "6", "''", "''", "NULL"),
    ]
    with connection.cursor() as cursor:
        cursor.execute("SET NAMES utf8mb4")
        cursor.execute(
            "CREATE TABLE long_ones"
            " (id INT PRIMARY KEY, a LONGTEXT, n INT, b LONGBLOB NOT NULL, c VARCHAR(9) NOT NULL, d MEDIUMTEXT)"
        )
        for row in rows:
            cursor.execute(f"INSERT INTO long_ones VALUES ({','.join(row)})")
    connection.commit()


def describe(connection: "Connection[Any]", schema: str) -> dict[str, Any]:
    """Return all that a schema holds, by what it is: definitions, and checksums of each table's rows and columns."""
    with connection.cursor() as cursor:

        def ask(query: str) -> list[tuple[Any, ...]]:
            cursor.execute(query)
            return [tuple(v.decode("utf-8") if isinstance(v, bytes) else v for v in row) for row in cursor.fetchall()]

        def show(kind: str, name: str) -> tuple[Any, ...]:
            try:
                cursor.execute(f"SHOW CREATE {kind} {quoted(name)}")
            except MySQLError as error:
                # Such as a view whose table is gone.
                return (f"error {error.args[0]}",)
            # The last of a trigger is the moment of its creation.
            values = cursor.fetchall()[0][1 : -1 if kind == "TRIGGER" else None]
            return tuple(_without_schema(value, schema) for value in values)

        cursor.execute("SET NAMES binary")
        # Or a view with a collation of text that a function makes would not be shown.
        cursor.execute("SET character_set_connection=utf8mb4")
        cursor.execute("SET SESSION sql_mode='', time_zone='+00:00'")
        cursor.execute(f"USE {quoted(schema)}")
        found: dict[str, Any] = {"SCHEMA": ask("SELECT @@character_set_database,@@collation_database")}
        # Of all tables at once: the server opens each of a schema for such a question.
        columns = defaultdict(list)
        for table, *column in ask(_COLUMNS):
            columns[table].append(column)
        for kind, name in ask(_OBJECTS):
            found[f"{kind} {name}"] = show(kind, name)
            if kind == "TABLE":
                found[f"ROWS {name}"] = _sums(ask, name, columns[name])
            elif kind == "SEQUENCE":
                found[f"NEXT {name}"] = ask(f"SELECT next_not_cached_value FROM {quoted(name)}")
        found["ORDER OF TRIGGERS"] = ask(
            "SELECT TRIGGER_NAME,EVENT_OBJECT_TABLE,ACTION_TIMING,EVENT_MANIPULATION,ACTION_ORDER,DEFINER"
            " FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE() ORDER BY 1"
        )
    return found


_OBJECTS = (
    "SELECT IF(TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED'),'TABLE',TABLE_TYPE),TABLE_NAME"
    " FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE()"
    " UNION ALL SELECT ROUTINE_TYPE,ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=DATABASE()"
    " UNION ALL SELECT 'TRIGGER',TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()"
    " UNION ALL SELECT 'EVENT',EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE()"
)


_COLUMNS = (
    "SELECT TABLE_NAME,COLUMN_NAME,DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE()"
    " ORDER BY TABLE_NAME,ORDINAL_POSITION"
)


def _without_schema(definition: bytes, schema: str) -> bytes:
    # Where the author wrote the schema's name, or the server does.
    for name in (f"{quoted(schema)}.", f"{quoted(schema)} . ", f"{schema}."):
        definition = definition.replace(name.encode(), b"")
    # MySQL names it too as soon as a definition has named the collation, as its own do.
    return re.sub(rb"CHARACTER SET (\w+) (?=COLLATE \1_)", b"", definition)


def _sums(ask: Any, table: str, columns: Iterable[Sequence[str]]) -> dict[str, Any]:
    """Return the number of rows, and sums over all rows of a hash of each column and of the whole row."""
    texts = {
        name: f"IFNULL(SHA2(CAST({quoted(name)}{'+0e0' * (kind in {'float', 'double'})} AS BINARY),256),'NULL')"
        for name, kind in columns
    }
    texts["whole rows"] = f"SHA2(CONCAT({','.join(texts.values())}),256)"
    sums = [f"SUM(CAST(CONV(LEFT({text},12),16,10) AS UNSIGNED)) AS s{n}" for n, text in enumerate(texts.values())]
    (values,) = ask(f"SELECT COUNT(*),{','.join(sums)} FROM {quoted(table)}")
    return dict(zip(["rows", *texts], values, strict=True))


def _fill_texts(cursor: Any) -> None:
    for number, text in enumerate(everything.TRAPS):
        octets = text.encode()
        texts = (number, *[text] * 6, number % 5 + 1, number % 16)
        blobs = (number, octets[:16], octets, octets, everything.EVERY_BYTE, octets, octets)
        for table, values in {"texts": texts, "blobs": blobs}.items():
            cursor.execute(f"INSERT INTO {table} VALUES (%s{',%s' * (len(values) - 1)})", values)
    cursor.execute("INSERT INTO texts (id, e) VALUES (-1, 'no such value'), (-2, 2)")
    for first, text in everything.CHARACTERS.items():
        cursor.execute("INSERT INTO characters VALUES (%s, %s)", (first, text))


def _fill_charsets(cursor: Any) -> None:
    for charset, encoding in everything.CHARSETS.items():
        columns = "id INT PRIMARY KEY, c CHAR(100), t TEXT, e ENUM('a', 'b'), v VARCHAR(100) NOT NULL"
        cursor.execute(f"CREATE TABLE in_{charset} ({columns}) CHARACTER SET {charset}")
        known = "".join(chr(code) for code in range(0x10000) if chr(code).encode(encoding, "ignore"))
        for start in range(0, min(len(known), 16_000), 80):
            text = known[start : start + 80]
            cursor.execute(f"INSERT INTO in_{charset} VALUES (%s, %s, %s, 'a', %s)", (start, text, text, text))


def _fill_hostile_table(cursor: Any) -> None:
    table, names = quoted(everything.HOSTILE_TABLE), everything.HOSTILE_COLUMNS
    columns = ", ".join(f"{quoted(name)} TEXT" for name in names)
    cursor.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY AUTO_INCREMENT, {columns})")
    for text in everything.TRAPS:
        cursor.execute(f"INSERT INTO {table} VALUES (NULL{',%s' * len(names)})", [text] * len(names))
