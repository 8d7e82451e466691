"""The views, routines, triggers and events of a schema, and the SQL text that creates it."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pymysql import err

from chalicelib.backup.connection import literal, query_bytes, query_text, quoted
from chalicelib.backup.dump.tables import SequenceTable, Table, strip_schema, strip_trigger_schema
from chalicelib.core.errors import PermanentError
from chalicelib.core.server_errors import DENIED, LOST

ROUTINES = ("PACKAGE", "PACKAGE BODY", "FUNCTION", "PROCEDURE")


@dataclass(frozen=True, kw_only=True)
class Program:
    """A view, routine, trigger or event, and its settings from its creation; None if its kind has none."""

    kind: str
    name: str
    definition: bytes
    charset: str
    collation: str
    # The schema's collation at that time.
    schema_collation: str | None = None
    sql_mode: str | None = None
    time_zone: str | None = None
    # Of a trigger.
    table: str | None = None
    # Of a view: its columns, and the other views whose names occur in its definition.
    columns: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()


def read_routines(connection: Any) -> list[Program]:
    """Return the routines of the schema. Raises pymysql.err.Error, PermanentError."""
    found = query_text(
        connection,
        b"SELECT ROUTINE_TYPE,ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=DATABASE()"
        b" ORDER BY ROUTINE_NAME",
    )
    return [read_program(connection, kind, name) for wanted in ROUTINES for kind, name in found if kind == wanted]


def read_triggers(connection: Any, schema: str) -> list[Program]:
    """Return the triggers of the schema in their order of execution. Raises as `read_routines`."""
    found = query_text(
        connection,
        b"SELECT TRIGGER_NAME,EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()"
        b" ORDER BY EVENT_OBJECT_TABLE,EVENT_MANIPULATION,ACTION_TIMING,ACTION_ORDER",
    )
    triggers = []
    for name, table in found:
        trigger = read_program(connection, "TRIGGER", name)
        definition = strip_trigger_schema(trigger.definition, schema, name=name, table=table)
        triggers.append(replace(trigger, table=table, definition=definition))
    return triggers


def read_events(connection: Any) -> list[Program]:
    """Return the events of the schema. Raises as `read_routines`."""
    found = query_text(
        connection,
        b"SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE() ORDER BY EVENT_NAME",
    )
    return [read_program(connection, "EVENT", name) for (name,) in found]


def read_program(connection: Any, kind: str, name: str) -> Program:
    """Return a program by its kind and name. Raises pymysql.err.Error, PermanentError if its text is hidden."""
    _, *settings = query_bytes(connection, b"SHOW CREATE " + kind.encode() + b" " + quoted(name))[0]
    sql_mode = None if kind == "VIEW" else settings.pop(0).decode()
    time_zone = settings.pop(0).decode() if kind == "EVENT" else None
    definition, charset, collation, *schema_collation = settings
    if definition is None:
        raise PermanentError(
            f"the {kind.lower()} {name!r} is hidden from this user: grant it access to the whole schema"
        )
    return Program(
        kind=kind,
        name=name,
        definition=definition,
        charset=charset.decode(),
        collation=collation.decode(),
        schema_collation=schema_collation[0].decode() if schema_collation else None,
        sql_mode=sql_mode,
        time_zone=time_zone,
    )


def read_views(connection: Any, schema: str) -> list[Program]:
    """Return the views of the schema, by name. Raises pymysql.err.Error, PermanentError."""
    found = query_text(
        connection,
        # Only here is the definition in UTF-8; SHOW CREATE VIEW uses the character set of the view's author.
        b"SELECT TABLE_NAME,VIEW_DEFINITION,COLLATION_CONNECTION,DEFINER,SECURITY_TYPE FROM information_schema.VIEWS"
        b" WHERE TABLE_SCHEMA=DATABASE() ORDER BY TABLE_NAME",
    )
    quotes = {name: quoted(name).decode() for name, *_ in found}
    views = []
    for name, text, collation, definer, security in found:
        # The server resolves the view's expressions in the session's character set, and refuses `collate utf8mb4_bin`
        # for a binary one. So read the view with the collation under which it was created.
        connection.query(b"SET collation_connection=" + collation.encode())
        try:
            view = read_program(connection, "VIEW", name)
        except err.MySQLError as error:
            if error.args[0] in LOST | DENIED:
                raise
            view = _listed(name, text, collation=collation, definer=definer, security=security)
        columns = _columns(connection, name)
        named = frozenset(other for other, quote in quotes.items() if other != name and quote in text)
        views.append(replace(view, definition=strip_schema(view.definition, schema), columns=columns, named=named))
    connection.query(b"SET NAMES binary")
    return views


def find_broken(connection: Any, views: Sequence[Program]) -> dict[str, str]:
    """Return the names of unusable views, with the server's reason, such as a missing table.

    Raises pymysql.err.Error if the connection is lost.
    """
    broken = {}
    for view in views:
        # For the same reason as in `read_views`.
        connection.query(b"SET collation_connection=" + view.collation.encode())
        try:
            # PREPARE resolves the view without reading any row.
            connection.query(b"PREPARE nightshift FROM " + literal(b"SELECT * FROM " + quoted(view.name)))
        except err.MySQLError as error:
            code, reason = (*error.args, "")[:2] if error.args else (None, "")
            if code is None or code in LOST:
                raise
            broken[view.name] = f"{reason} ({code})"
    connection.query(b"SET NAMES binary")
    return broken


def _listed(name: str, text: str, *, collation: str, definer: str, security: str) -> Program:
    """Return a view from its listing, if SHOW CREATE VIEW fails: MariaDB stores some views that it cannot parse."""
    user, _, host = definer.rpartition("@")
    who = b"DEFINER=%b@%b SQL SECURITY %b" % (quoted(user), quoted(host), security.encode())
    definition = b"CREATE %b VIEW %b AS %b" % (who, quoted(name), text.encode())
    return Program(kind="VIEW", name=name, definition=definition, charset="utf8mb4", collation=collation)


def _columns(connection: Any, view: str) -> tuple[str, ...]:
    """Return the names of a view's columns; MariaDB has none for a view on a missing table."""
    found = query_text(
        connection,
        b"SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE()"
        b" AND TABLE_NAME=%b ORDER BY ORDINAL_POSITION" % literal(view.encode()),
    )
    return tuple(name for (name,) in found)


def order_views(views: Sequence[Program]) -> Iterator[Program]:
    """Yield views, each after those that it names.

    A name may also be a column's, so there can be cycles. Then placeholders with the same columns come first.
    """
    waiting = {view.name: view for view in views}
    while ready := [view for view in waiting.values() if not view.named & waiting.keys()]:
        yield from ready
        for view in ready:
            del waiting[view.name]
    for view in waiting.values():
        selected = b",".join(b"1 AS " + quoted(column) for column in view.columns)
        yield replace(view, definition=b"CREATE VIEW " + quoted(view.name) + b" AS SELECT " + selected)
    for view in waiting.values():
        yield replace(view, definition=view.definition.replace(b"CREATE ", b"CREATE OR REPLACE ", 1))


# Each part begins with these settings, so that it loads on its own. Definitions are in UTF-8, as in the server; values
# are the stored bytes. The modes neither refuse nor change any value.
_MODE = b"sql_mode='NO_AUTO_VALUE_ON_ZERO',time_zone='+00:00'"
_HEADER = b"SET NAMES utf8mb4;\nSET SESSION " + _MODE + b",foreign_key_checks=0,unique_checks=0;\n"
ROWS_HEADER = _HEADER.replace(b"utf8mb4", b"binary")


def define_tables(sequences: Iterable[SequenceTable], tables: Iterable[Table]) -> bytes:
    """Return the SQL text that creates the sequences and tables. Foreign keys may refer to later tables."""
    statements = []
    for sequence in sequences:
        statements += [sequence.definition, b"DO SETVAL(%b,%d,0)" % (quoted(sequence.name), sequence.next)]
    return _text(statements + [table.definition for table in tables])


def define_programs(programs: Iterable[Program], *, collation: str) -> bytes:
    """Return the SQL text that creates the programs, in this order.

    `collation` is the schema's; each program keeps the collation of its creation.
    """
    statements, now = [], collation
    for program in programs:
        if (program.schema_collation or collation) != now:
            now = program.schema_collation or collation
            statements.append(b"ALTER DATABASE COLLATE " + now.encode())
        statements += [_settings(program), program.definition]
    if now != collation:
        statements.append(b"ALTER DATABASE COLLATE " + collation.encode())
    return _text([*statements, b"SET NAMES utf8mb4", b"SET SESSION " + _MODE])


def _settings(program: Program) -> bytes:
    settings = {"character_set_client": program.charset, "collation_connection": program.collation}
    settings |= {"sql_mode": program.sql_mode or "", "time_zone": program.time_zone or "+00:00"}
    return b"SET SESSION " + b",".join(b"%b=%b" % (k.encode(), literal(v.encode())) for k, v in settings.items())


def _text(statements: Collection[bytes]) -> bytes:
    delimiter = b"$$"
    while any(delimiter in statement for statement in statements):
        delimiter += b"$"
    end = b"\n" + delimiter + b"\n"
    return _HEADER + b"DELIMITER " + delimiter + b"\n" + b"".join(s + end for s in statements) + b"DELIMITER ;\n"
