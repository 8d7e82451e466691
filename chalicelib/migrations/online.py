"""Changes of tables that an application is writing to: nobody waits for more than a moment, and each may be repeated.

MySQL and MariaDB commit every change of a schema at once, so an upgrade may be cut off between any two of them. Each
function here looks first and does only what is missing.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateColumn

from chalicelib.core.database import LOCK_WAIT_TIMEOUT, error_code
from chalicelib.core.errors import PermanentError, TransientError

# The server cannot do it in this way: not supported (with and without a reason), an unknown algorithm, and no room for
# another instant column.
NOT_THIS_WAY = frozenset({1845, 1846, 1800, 4080, 4092})
IN_PLACE = "ALGORITHM=INPLACE, LOCK=NONE"
# A table with no more rows is copied within a second.
SMALL = 10_000
CHUNK = 1000
# A change waits until transactions that use its table end, and everybody else waits behind it. So it waits only for
# short times, with pauses that let the others through.
LOCK_WAIT_SECONDS = 2
LOCK_ATTEMPTS = 30


def create_table(table: sa.Table) -> None:
    """Create a table unless it exists, with all its indexes or not at all.

    One that was cut off before its last index could not be told from a table that the application has made.
    """
    bind = op.get_bind()
    if sa.inspect(bind).has_table(table.name):
        return
    made = table.to_metadata(sa.MetaData(), name=f"nightshift_new_{table.name}")
    names = {tuple(index.columns.keys()): index.name for index in table.indexes}
    for index in made.indexes:
        index.name = names[tuple(index.columns.keys())]
    made.drop(bind, checkfirst=True)
    made.create(bind)
    op.rename_table(made.name, table.name)


def add_columns(table: str, columns: Collection[sa.Column[Any]]) -> None:
    """Add those columns that the table lacks, all by one change. Raises as `alter`."""
    bind = op.get_bind()
    existing = {column["name"] for column in sa.inspect(bind).get_columns(table)}
    missing = [column for column in columns if column.name not in existing]
    changes = [f"ADD COLUMN {CreateColumn(column).compile(dialect=bind.dialect)}" for column in missing]
    if bind.dialect.name == "sqlite":
        for change in changes:
            change_freely(table, change)
    elif changes:
        alter(table, ", ".join(changes), "ALGORITHM=INSTANT", IN_PLACE)


def add_indexes(table: str, indexes: Mapping[str, Sequence[str]], *, instead_of: Collection[str] = ()) -> None:
    """Add those indexes that the table lacks, unique where the name begins with `uq_`, and drop others by name.

    An index of the application's own that begins with the same columns is as good as one that is not unique.
    Raises as `alter`.
    """
    bind = op.get_bind()
    existing = {str(index["name"]): index["column_names"] for index in sa.inspect(bind).get_indexes(table)}
    kept = [columns for name, columns in existing.items() if name not in instead_of]
    missing = {
        name: columns
        for name, columns in indexes.items()
        if (name not in existing or name in instead_of)
        and (name.startswith("uq_") or list(columns) not in [each[: len(columns)] for each in kept])
    }
    dropped = [name for name in instead_of if name in existing]
    if bind.dialect.name == "sqlite":
        for name in dropped:
            op.drop_index(name, table)
        for name, columns in missing.items():
            op.create_index(name, table, list(columns), unique=name.startswith("uq_"))
        return
    changes = [f"DROP INDEX {name}" for name in dropped]
    for name, columns in missing.items():
        kind = "UNIQUE INDEX" if name.startswith("uq_") else "INDEX"
        changes.append(f"ADD {kind} {name} ({', '.join(columns)})")
    if changes:
        alter(table, ", ".join(changes), IN_PLACE)


def set_default(table: str, name: str, value: str) -> None:
    """Give a column that has no default one, for rows to come. Raises as `alter`."""
    column = next(each for each in sa.inspect(op.get_bind()).get_columns(table) if each["name"] == name)
    if column["default"] is None:
        alter(table, f"ALTER COLUMN {name} SET DEFAULT {value}", "ALGORITHM=INSTANT", IN_PLACE)


def alter(table: str, change: str, *ways: str) -> None:
    """Change a table of MySQL or MariaDB in the first of these ways that the server can, or by copying a small table.

    Raises PermanentError, which has the statement, where only a copy could do it: nothing can be written to the table
    meanwhile. Raises TransientError where a transaction does not let go of the table.
    """
    statement, reason = f"ALTER TABLE {table} {change}", ""
    for way in ways:
        try:
            return _execute(sa.text(f"{statement}, {way}"), table)
        except DBAPIError as error:
            if error_code(error) not in NOT_THIS_WAY:
                raise
            reason = str(error.orig.args[1]) if error.orig else ""
    if not is_small(table):
        raise PermanentError(
            f"the server can only change {table} by copying it, and nothing can be written to it meanwhile ({reason});"
            f" run this when that does no harm, and then nightshift migrate again: {statement}"
        )
    return change_freely(table, change)


def change_freely(table: str, change: str) -> None:
    """Change a table as the server likes best, which may be a copy for which writers wait. Raises as `alter`."""
    _execute(sa.text(f"ALTER TABLE {table} {change}"), table)


def is_small(table: str) -> bool:
    """Return whether copying the table takes no time worth mentioning."""
    found = op.get_bind().exec_driver_sql(f"SELECT 1 FROM {table} LIMIT 1 OFFSET {SMALL}")  # noqa: S608 (our names)
    return found.first() is None


def set_in_chunks(table: sa.TableClause, condition: sa.ColumnElement[bool], values: Mapping[str, Any]) -> None:
    """Give values to the rows that meet a condition, in short statements that each commit at once."""
    bind = op.get_bind()
    last = ""
    while True:
        query = sa.select(table.c.id).where(condition, table.c.id > last).order_by(table.c.id).limit(CHUNK)
        ids = list(bind.execute(query).scalars())
        if not ids:
            return
        _execute(sa.update(table).where(table.c.id.in_(ids), condition).values(values), table.name)
        last = ids[-1]


def _execute(statement: sa.Executable, table: str) -> None:
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            op.get_bind().execute(statement)
            return
        except DBAPIError as error:
            if error_code(error) != LOCK_WAIT_TIMEOUT:
                raise
            if attempt == LOCK_ATTEMPTS:
                raise TransientError(
                    f"a transaction has been using {table} for a minute, and it cannot be changed before that ends:"
                    " SHOW PROCESSLIST names it; run nightshift migrate again afterwards"
                ) from error
            time.sleep(1)
