"""Empty the tables of a database that many tests share."""

from functools import cache
from typing import Any

from sqlalchemy import CompoundSelect, Connection, delete, exists, literal, select, union_all

from chalicelib.application import metadata


def empty_tables(connection: Connection) -> None:
    """Delete every row of every table. One query finds the few that have any."""
    for (name,) in connection.execute(_non_empty_tables()).all():
        connection.execute(delete(metadata.tables[name]))


@cache
def _non_empty_tables() -> CompoundSelect[Any]:
    return union_all(
        *(
            select(literal(name)).where(exists(select(literal(1)).select_from(table)))
            for name, table in metadata.tables.items()
        )
    )
