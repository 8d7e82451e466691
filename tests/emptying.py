"""The tables of a database that many tests share, emptied between them."""

from functools import cache
from typing import Any

from sqlalchemy import CompoundSelect, Connection, delete, exists, literal, select, union_all

from chalicelib.application import metadata


def empty(connection: Connection) -> None:
    """Delete every row of every table. One look finds those that have any: most have none."""
    for (name,) in connection.execute(_filled()).all():
        connection.execute(delete(metadata.tables[name]))


@cache
def _filled() -> CompoundSelect[Any]:
    return union_all(
        *(
            select(literal(name)).where(exists(select(literal(1)).select_from(table)))
            for name, table in metadata.tables.items()
        )
    )
