"""The routines, triggers and events of a schema, as the server defines them."""

from dataclasses import dataclass, replace
from typing import Any

from chalicelib.backup.quoting import quoted
from chalicelib.backup.session import ask, tell
from chalicelib.backup.unqualified import unqualified_trigger
from chalicelib.core.errors import PermanentError

ROUTINES = ("PACKAGE", "PACKAGE BODY", "FUNCTION", "PROCEDURE")


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program, and the settings of its creation that it keeps; None is what its kind has not."""

    kind: str
    name: str
    definition: bytes
    charset: str
    collation: str
    # The schema's at that time.
    schema_collation: str | None = None
    sql_mode: str | None = None
    time_zone: str | None = None
    # A trigger's.
    table: str | None = None
    # A view's: its columns' names, and the other views whose names are in its definition.
    columns: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()


def read_routines(connection: Any) -> list[Program]:
    """Return the routines of the connection's schema. Raises pymysql.err.Error, PermanentError."""
    found = tell(
        connection,
        b"SELECT ROUTINE_TYPE,ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=DATABASE()"
        b" ORDER BY ROUTINE_NAME",
    )
    return [read_program(connection, kind, name) for wanted in ROUTINES for kind, name in found if kind == wanted]


def read_triggers(connection: Any, schema: str) -> list[Program]:
    """Return the triggers of the connection's schema, those of one moment in their order. Raises as read_routines."""
    found = tell(
        connection,
        b"SELECT TRIGGER_NAME,EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()"
        b" ORDER BY EVENT_OBJECT_TABLE,EVENT_MANIPULATION,ACTION_TIMING,ACTION_ORDER",
    )
    triggers = []
    for name, table in found:
        trigger = read_program(connection, "TRIGGER", name)
        definition = unqualified_trigger(trigger.definition, schema, name=name, table=table)
        triggers.append(replace(trigger, table=table, definition=definition))
    return triggers


def read_events(connection: Any) -> list[Program]:
    """Return the events of the connection's schema. Raises as read_routines."""
    found = tell(
        connection,
        b"SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE() ORDER BY EVENT_NAME",
    )
    return [read_program(connection, "EVENT", name) for (name,) in found]


def read_program(connection: Any, kind: str, name: str) -> Program:
    """Return a program by its kind and name. Raises pymysql.err.Error, PermanentError where a part of it is hidden."""
    _, *settings = ask(connection, b"SHOW CREATE " + kind.encode() + b" " + quoted(name))[0]
    sql_mode = None if kind == "VIEW" else settings.pop(0).decode()
    time_zone = settings.pop(0).decode() if kind == "EVENT" else None
    definition, charset, collation, *schema_collation = settings
    if definition is None:
        raise PermanentError(f"the {kind.lower()} {name!r} is not shown to this user: let it see all of the schema")
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
