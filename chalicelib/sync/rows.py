"""The rows of `external_data`: found, inserted and overwritten in few statements, and with little work.

Texts stand in the statements as hexadecimal digits. Drivers look at every character of a parameter for what is to be
escaped, which is most of the work of an insert; digits need none, and nothing that they say is ever taken for SQL.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Row, Select, Table, bindparam, select
from sqlalchemy.dialects import mysql

from chalicelib.schema import external_data as rows

# A row's values in this order, as they are inserted; a new one is not missing.
COLUMNS = ("id", "external_id", "data", "synced_at", "source", "content_hash", "changed_at")
CHANGING = (*COLUMNS[2:], "missing_since")
# As drivers have it for their own; every server takes four times that.
MAX_STATEMENT = 1024 * 1024

# One value and not a row each: reading rows is most of what an unchanged item costs. MySQL cuts the value off after a
# kilobyte unless told otherwise, as MariaDB does after a megabyte; what is cut off is then looked at once more.
SETTLED = f"""
    SELECT /*+ SET_VAR(group_concat_max_len = 16777216) */ GROUP_CONCAT(content_hash)
    FROM {rows.name} WHERE external_id IN (%s) AND source = %s AND missing_since IS NULL
"""  # noqa: S608 (its own table)

_STANDING: Select[Any] = select(
    rows.c.id,
    rows.c.external_id,
    rows.c.source,
    rows.c.content_hash,
    rows.c.changed_at,
    rows.c.synced_at,
    rows.c.missing_since,
).where(rows.c.external_id.in_(bindparam("ids", expanding=True)))
_ARRIVED = select(rows.c.external_id).where(rows.c.id.in_(bindparam("ids", expanding=True)))


def settled_hashes(connection: Connection, ids: Collection[str], *, source: str) -> Set[str]:
    """Return the content hashes of those of the ids that the source is known to have."""
    if not ids:
        return frozenset()
    literal = _literal(connection.dialect)
    statement = SETTLED % (",".join([literal % id_.encode().hex() for id_ in ids]), literal % source.encode().hex())
    hashes = connection.exec_driver_sql(statement).scalar_one()
    return frozenset(hashes.split(",")) if hashes else frozenset()


def find(connection: Connection, ids: Collection[str], *, is_locking: bool) -> dict[str, Row[Any]]:
    """Return the rows of these ids, whoever's, and lock them to the end of the transaction."""
    if not ids:
        return {}
    query = _STANDING.with_for_update() if is_locking else _STANDING
    found = {row.external_id: row for row in connection.execute(query, {"ids": list(ids)}).all()}
    # MySQL's collations take more for equal than we do.
    return {id_: found[id_] for id_ in ids if id_ in found}


def insert(connection: Connection, new: Sequence[tuple[Any, ...]], *, behind: str = "") -> None:
    """Insert rows. Raises IntegrityError where an id is taken."""
    literal = _literal(connection.dialect)
    for chunk in _chunks(_texts(new, literal), length=MAX_STATEMENT):
        values = ",".join(chunk)
        statement = f"INSERT INTO {rows.name} ({', '.join(COLUMNS)}) VALUES {values} {behind}"  # noqa: S608 (as above)
        connection.exec_driver_sql(statement)


def insert_missing(connection: Connection, new: Sequence[tuple[Any, ...]]) -> set[str]:
    """Insert rows, and return the external ids of those that could not be, since their id is taken."""
    if not new:
        return set()
    is_sqlite = connection.dialect.name == "sqlite"
    insert(connection, new, behind="ON CONFLICT DO NOTHING" if is_sqlite else "ON DUPLICATE KEY UPDATE id = id")
    arrived = connection.execute(_ARRIVED, {"ids": [row[0] for row in new]}).scalars()
    return {row[1] for row in new} - set(arrived)


def overwrite(connection: Connection, changed: Sequence[tuple[Any, ...]]) -> None:
    """Give rows that are there, and locked, their new values; none of them is missing any more."""
    if changed:
        values = [dict(zip(COLUMNS, row, strict=True), missing_since=None) for row in changed]
        connection.execute(upsert(rows, connection.dialect, CHANGING), values)


def upsert(table: Table, dialect: Dialect, columns: Iterable[str]) -> Insert:
    """Return an INSERT that sets these columns where the primary key exists already."""
    if dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        into = sqlite.insert(table)
        return into.on_conflict_do_update(
            index_elements=list(table.primary_key), set_={name: into.excluded[name] for name in columns}
        )
    statement = mysql.insert(table)
    return statement.on_duplicate_key_update({name: statement.inserted[name] for name in columns})


def _literal(dialect: Dialect) -> str:
    return "CAST(X'%s' AS TEXT)" if dialect.name == "sqlite" else "_utf8mb4 X'%s'"


def _texts(new: Iterable[tuple[Any, ...]], literal: str) -> Iterator[str]:
    # The row's id and the hash are our own digits.
    form = f"('%s',{literal},{literal},%d,{literal},'%s',%s)"
    for id_, external_id, data, synced_at, source, content_hash, changed_at in new:
        texts = external_id.encode().hex(), data.encode().hex()
        moment = "NULL" if changed_at is None else changed_at
        yield form % (id_, *texts, synced_at, source.encode().hex(), content_hash, moment)


def _chunks(texts: Iterable[str], *, length: int) -> Iterator[list[str]]:
    """Give texts in lists, none of which is longer than this unless its only text is."""
    chunk: list[str] = []
    left = length
    for text in texts:
        left -= len(text)
        if left < 0 and chunk:
            yield chunk
            chunk, left = [], length - len(text)
        chunk.append(text)
    if chunk:
        yield chunk
