"""The views of a schema, in an order in which they can be made."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from pymysql import err

from chalicelib.backup.explained import DENIED, LOST
from chalicelib.backup.programs import Program, read_program
from chalicelib.backup.quoting import literal, quoted
from chalicelib.backup.session import tell
from chalicelib.backup.unqualified import unqualified


def read_views(connection: Any, schema: str) -> list[Program]:
    """Return the views of the connection's schema, by name. Raises pymysql.err.Error, PermanentError."""
    found = tell(
        connection,
        # Here the definition is in UTF-8; elsewhere it is in the character set of whoever made the view.
        b"SELECT TABLE_NAME,VIEW_DEFINITION,COLLATION_CONNECTION,DEFINER,SECURITY_TYPE FROM information_schema.VIEWS"
        b" WHERE TABLE_SCHEMA=DATABASE() ORDER BY TABLE_NAME",
    )
    quotes = {name: quoted(name).decode() for name, *_ in found}
    views = []
    for name, text, collation, definer, security in found:
        # The server resolves the view's expressions to show it, and text that a function makes is in the session's
        # character set: `collate utf8mb4_bin` behind it is refused where that is binary. It was not when the view was
        # made, so the view is shown under the collation of that time.
        connection.query(b"SET collation_connection=" + collation.encode())
        try:
            view = read_program(connection, "VIEW", name)
        except err.MySQLError as error:
            if error.args[0] in LOST | DENIED:
                raise
            view = _listed(name, text, collation=collation, definer=definer, security=security)
        columns = _columns(connection, name)
        named = frozenset(other for other, quote in quotes.items() if other != name and quote in text)
        views.append(replace(view, definition=unqualified(view.definition, schema), columns=columns, named=named))
    connection.query(b"SET NAMES binary")
    return views


def find_broken(connection: Any, views: Sequence[Program]) -> dict[str, str]:
    """Return the names of views that cannot be used, with the server's reason: what they refer to is gone, perhaps.

    Raises pymysql.err.Error where the server is lost.
    """
    broken = {}
    for view in views:
        # Or text that a function makes is binary, as above.
        connection.query(b"SET collation_connection=" + view.collation.encode())
        try:
            # Resolves what the view refers to, and reads no row.
            connection.query(b"PREPARE nightshift FROM " + literal(b"SELECT * FROM " + quoted(view.name)))
        except err.MySQLError as error:
            code, reason = (*error.args, "")[:2] if error.args else (None, "")
            if code is None or code in LOST:
                raise
            broken[view.name] = f"{reason} ({code})"
    connection.query(b"SET NAMES binary")
    return broken


def _listed(name: str, text: str, *, collation: str, definer: str, security: str) -> Program:
    """Return a view as the server lists it, where it refuses to show it: MariaDB writes some that it cannot read."""
    user, _, host = definer.rpartition("@")
    who = b"DEFINER=%b@%b SQL SECURITY %b" % (quoted(user), quoted(host), security.encode())
    definition = b"CREATE %b VIEW %b AS %b" % (who, quoted(name), text.encode())
    return Program(kind="VIEW", name=name, definition=definition, charset="utf8mb4", collation=collation)


def _columns(connection: Any, view: str) -> tuple[str, ...]:
    """Return the names of a view's columns; of a view over what is gone, MariaDB knows none."""
    found = tell(
        connection,
        b"SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE()"
        b" AND TABLE_NAME=%b ORDER BY ORDINAL_POSITION" % literal(view.encode()),
    )
    return tuple(name for (name,) in found)


def in_order(views: Sequence[Program]) -> Iterator[Program]:
    """Yield views, each after those that it names.

    A name may be another thing's, a column's perhaps, so that there is no such order. Then views of the same columns
    stand in first for all that remain.
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
