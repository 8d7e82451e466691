"""The views of a schema, in an order in which they can be made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chalicelib.backup.programs import Program, read_program
from chalicelib.backup.quoting import quoted
from chalicelib.backup.session import tell
from chalicelib.backup.unqualified import unqualified


def read_views(connection: Any, schema: str) -> list[Program]:
    """Return the views of the connection's schema, by name. Raises pymysql.err.Error, PermanentError."""
    found = tell(
        connection,
        # Here the definition is in UTF-8; elsewhere it is in the character set of whoever made the view.
        b"SELECT TABLE_NAME,VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA=DATABASE()"
        b" ORDER BY TABLE_NAME",
    )
    quotes = {name: quoted(name).decode() for name, _ in found}
    views = []
    for name, text in found:
        view = read_program(connection, "VIEW", name)
        named = frozenset(other for other, quote in quotes.items() if other != name and quote in text)
        views.append(replace(view, definition=unqualified(view.definition, schema), named=named))
    return views


def in_order(views: Sequence[Program], columns: Mapping[str, Sequence[str]]) -> Iterator[Program]:
    """Yield views, each after those that it names; `columns` are their columns' names.

    A name may be another thing's, a column's perhaps, so that there is no such order. Then views of the same columns
    stand in first for all that remain.
    """
    waiting = {view.name: view for view in views}
    while ready := [view for view in waiting.values() if not view.named & waiting.keys()]:
        yield from ready
        for view in ready:
            del waiting[view.name]
    for view in waiting.values():
        selected = b",".join(b"1 AS " + quoted(column) for column in columns[view.name])
        yield replace(view, definition=b"CREATE VIEW " + quoted(view.name) + b" AS SELECT " + selected)
    for view in waiting.values():
        yield replace(view, definition=view.definition.replace(b"CREATE ", b"CREATE OR REPLACE ", 1))
