"""The survey: how much a rule would delete, counted before anything goes, and whether that may be."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, func, select

from chalicelib.core.context import Context
from chalicelib.core.errors import OutOfTimeError, PermanentError
from chalicelib.core.telemetry import logger
from chalicelib.tasks.database_cleanup.moment import Lens
from chalicelib.tasks.database_cleanup.rule import Rule
from chalicelib.tasks.database_cleanup.stretch import Key, by_primary_key, next_stretch, within

# A share says little of a small table: of the three sessions of a new application, all may be old.
SMALL_TABLE = 1000
STRETCH = 5000
# A column of nothing else would write more log than anybody reads.
LISTED = 1000


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Rows of a rule: how many are `due`, how many `unreadable`, and how many may go at most."""

    due: int
    unreadable: int
    table_rows: int
    allowed: int


def survey(context: Context, rule: Rule, lens: Lens) -> Survey:
    """Count, and log the ids of rows whose moment cannot be understood. Raises OutOfTimeError."""
    due, unreadable, keys = _ask(context, rule, lens) if lens.in_sql else _read(context, rule, lens)
    if unreadable:
        ids = ["/".join(map(str, key)) for key in keys]
        logger.error("moments cannot be understood", extra={"unreadable": unreadable, "ids": ids})
    table_rows = context.database.transact(lambda connection: _count(connection, rule.table))
    is_small = table_rows <= SMALL_TABLE
    allowed = rule.max_rows if is_small else min(rule.max_rows, int(rule.max_share * table_rows))
    return Survey(due=due, unreadable=unreadable, table_rows=table_rows, allowed=allowed)


def check(rule: Rule, found: Survey) -> None:
    """Raise PermanentError when more would go than the rule allows."""
    if found.due > found.allowed:
        raise PermanentError(
            f"{found.due} of {found.table_rows} rows would go and the rule allows {found.allowed}, so none is deleted; "
            f'if that is meant, invoke the task with "uncapped": ["{rule.name}"]'
        )


def _ask(context: Context, rule: Rule, lens: Lens) -> tuple[int, int, list[Key]]:
    def work(connection: Connection) -> tuple[int, int, list[Key]]:
        due = _count(connection, rule.table, rule.where, lens.due)
        unreadable = _count(connection, rule.table, rule.where, lens.unreadable)
        listed = select(*rule.key).where(rule.where, lens.unreadable).order_by(*rule.key).limit(LISTED)
        return due, unreadable, [tuple(row) for row in connection.execute(listed)] if unreadable else []

    return context.database.transact(work)


def _read(context: Context, rule: Rule, lens: Lens) -> tuple[int, int, list[Key]]:
    due = unreadable = 0
    keys: list[Key] = []
    for row in _walk(context, rule, lens):
        try:
            due += lens.is_due(row[-1])
        except ValueError:
            unreadable += 1
            if len(keys) < LISTED:
                keys.append(tuple(row[:-1]))
    return due, unreadable, keys


def _walk(context: Context, rule: Rule, lens: Lens) -> Iterator[Row[Any]]:
    after: Key | None = None
    while True:
        if context.is_out_of_time():
            raise OutOfTimeError(f"the survey of {rule.name} has to begin anew")
        after, rows = context.database.transact(partial(_read_stretch, rule=rule, lens=lens, after=after))
        yield from rows
        if after is None:
            return


def _read_stretch(
    connection: Connection, *, rule: Rule, lens: Lens, after: Key | None
) -> tuple[Key | None, Sequence[Row[Any]]]:
    stretch = next_stretch(connection, rule.table, after, rows=STRETCH)
    query = select(*rule.key, lens.value).where(within(rule.table, stretch), rule.where, lens.due)
    return stretch.last, connection.execute(by_primary_key(query, rule.table)).all()


def _count(connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(table).where(*conditions)
    return connection.execute(query).scalar_one()
