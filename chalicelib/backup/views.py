"""The views of a schema, in an order in which they can be made."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from chalicelib.backup.programs import Program, read_program
from chalicelib.backup.quoting import quoted
from chalicelib.backup.session import tell
from chalicelib.backup.unqualified import unqualified


def read_views(connection: Any, schema: str) -> list[Program]:
    """Return the views of the connection's schema, by name. Raises pymysql.err.Error, PermanentError."""
    found = tell(
        connection, b"SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA=DATABASE() ORDER BY 1"
    )
    views = [read_program(connection, "VIEW", name) for (name,) in found]
    return [replace(view, definition=unqualified(view.definition, schema)) for view in views]


def in_order(views: list[Program], columns: dict[str, list[str]]) -> Iterator[Program]:
    """Yield views, each after those that it names; `columns` are their columns' names.

    A name may be another thing's, a column's perhaps, so that there is no such order. Then views of the same columns
    stand in first for all that remain.
    """
    names = {view.name for view in views}
    needs = {view.name: {n for n in names - {view.name} if quoted(n) in view.definition} for view in views}
    made: set[str] = set()
    waiting = views
    while ready := [view for view in waiting if needs[view.name] <= made]:
        yield from ready
        made |= {view.name for view in ready}
        waiting = [view for view in waiting if view.name not in made]
    for view in waiting:
        selected = b",".join(b"1 AS " + quoted(column) for column in columns[view.name])
        yield replace(view, definition=b"CREATE VIEW " + quoted(view.name) + b" AS SELECT " + selected)
    for view in waiting:
        yield replace(view, definition=view.definition.replace(b"CREATE ", b"CREATE OR REPLACE ", 1))
