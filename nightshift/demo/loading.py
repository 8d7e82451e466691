"""Filling a database with the demo's users and posts, and only a database that holds nothing else."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from sqlalchemy import Engine, Table, delete, func, insert, select

from chalicelib import migrations
from chalicelib.application import metadata, users

BATCH = 1000


def prepare_database(engine: Engine) -> None:
    """Migrate the database and empty it of an earlier demo's rows.

    Raises ValueError when it holds users who are not the demo's: those are all at example.com, .org or .net.
    """
    migrations.upgrade(engine)
    with engine.begin() as connection:
        strangers = connection.execute(
            select(func.count()).select_from(users).where(users.c.email.not_like("%@example.___"))
        ).scalar_one()
        if strangers:
            raise ValueError(
                f"the database of DATABASE_URL holds {strangers} users of its own; give the demo an empty one"
            )
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))


def load(engine: Engine, table: Table, rows: Iterable[dict[str, Any]]) -> int:
    """Insert the rows in batches, so that memory does not grow with them, and return how many there were."""
    count = 0
    for batch in _batches(iter(rows)):
        with engine.begin() as connection:
            connection.execute(insert(table), batch)
        count += len(batch)
    return count


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(rows, BATCH)):
        yield batch
