"""The rows of `external_data`: found, inserted and overwritten in few statements, and with little work.

Texts stand in the statements as hexadecimal digits. Drivers look at every character of a parameter for what is to be
escaped, which is most of the work of an insert; digits need none, and nothing that they say is ever taken for SQL.
Not LOAD DATA: what is new is a sixth quicker with it, and slower by way of the table that the rest would have to be
compared from; and a client that allows it lets the server ask for any of its files.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from typing import Any

from sqlalchemy import Connection, Dialect, Row

from chalicelib.schema import external_data as rows

# The row's id, and of its item: id, data, content hash, and when it changed. The rest is the same for all of a batch.
Values = tuple[str, str, bytes, str, int | None]
COLUMNS = ("id", "external_id", "data", "content_hash", "changed_at", "synced_at", "source")
# As drivers have it for their own; every server takes four times that.
MAX_STATEMENT = 1024 * 1024

# One value and not a row each: reading rows is most of what an unchanged item costs. MySQL cuts the value off after a
# kilobyte unless told otherwise, as MariaDB does after a megabyte; what is cut off is then looked at once more.
SETTLED = f"""
    SELECT /*+ SET_VAR(group_concat_max_len = 16777216) */ GROUP_CONCAT(content_hash)
    FROM {rows.name} WHERE external_id IN (%s) AND source = %s AND missing_since IS NULL
"""  # noqa: S608 (its own table)

STANDING = f"""
    SELECT id, external_id, source, content_hash, changed_at, synced_at, missing_since
    FROM {rows.name} WHERE external_id IN (%s) %s
"""  # noqa: S608 (as above)
ARRIVED = f"SELECT external_id FROM {rows.name} WHERE id IN (%s)"  # noqa: S608 (as above)


def settled_hashes(connection: Connection, ids: Collection[str], *, source: str) -> Set[str]:
    """Return the content hashes of those of the ids that the source is known to have."""
    if not ids:
        return frozenset()
    among, of_source = (_listed(texts, connection.dialect) for texts in (ids, [source]))
    hashes = connection.exec_driver_sql(SETTLED % (among, of_source)).scalar_one()
    return frozenset(hashes.split(",")) if hashes else frozenset()


def find(connection: Connection, ids: Collection[str], *, is_locking: bool) -> dict[str, Row[Any]]:
    """Return the rows of these ids, whoever's, and lock them to the end of the transaction."""
    if not ids:
        return {}
    # SQLite locks no rows: whoever writes has it alone.
    lock = "FOR UPDATE" if is_locking and connection.dialect.name != "sqlite" else ""
    statement = STANDING % (_listed(ids, connection.dialect), lock)
    found = {row.external_id: row for row in connection.exec_driver_sql(statement)}
    # MySQL's collations take more for equal than we do.
    return {id_: found[id_] for id_ in ids if id_ in found}


def insert(connection: Connection, new: Sequence[Values], *, source: str, synced_at: int, behind: str = "") -> None:
    """Insert rows. Raises IntegrityError where an id is taken."""
    literal = _literal(connection.dialect)
    # The hash is our own digits.
    form = f"({literal},{literal},{literal},'%s',%s,{synced_at:d},{literal % source.encode().hex()})"
    for chunk in _chunks(_texts(new, form), length=MAX_STATEMENT):
        values = ",".join(chunk)
        statement = f"INSERT INTO {rows.name} ({', '.join(COLUMNS)}) VALUES {values} {behind}"  # noqa: S608 (as above)
        connection.exec_driver_sql(statement)


def insert_missing(connection: Connection, new: Sequence[Values], *, source: str, synced_at: int) -> set[str]:
    """Insert rows, and return the external ids of those that could not be, since their id is taken."""
    if not new:
        return set()
    behind = "ON CONFLICT DO NOTHING" if connection.dialect.name == "sqlite" else "ON DUPLICATE KEY UPDATE id = id"
    insert(connection, new, source=source, synced_at=synced_at, behind=behind)
    arrived = connection.exec_driver_sql(ARRIVED % _listed((row[0] for row in new), connection.dialect)).scalars()
    return {row[1] for row in new} - set(arrived)


def overwrite(connection: Connection, changed: Sequence[Values], *, source: str, synced_at: int) -> None:
    """Give rows that are there, and locked, their new values; none of them is missing any more."""
    is_sqlite = connection.dialect.name == "sqlite"
    begin, value = (
        ("ON CONFLICT (id) DO UPDATE SET", "excluded.%s") if is_sqlite else ("ON DUPLICATE KEY UPDATE", "VALUES(%s)")
    )
    given = ", ".join(f"{name} = {value % name}" for name in COLUMNS[2:])
    insert(connection, changed, source=source, synced_at=synced_at, behind=f"{begin} {given}, missing_since = NULL")


def _literal(dialect: Dialect) -> str:
    return "CAST(X'%s' AS TEXT)" if dialect.name == "sqlite" else "_utf8mb4 X'%s'"


def _listed(texts: Iterable[str], dialect: Dialect) -> str:
    literal = _literal(dialect)
    return ",".join([literal % text.encode().hex() for text in texts])


def _texts(new: Iterable[Values], form: str) -> Iterator[str]:
    for id_, external_id, data, content_hash, changed_at in new:
        moment = "NULL" if changed_at is None else changed_at
        yield form % (id_.encode().hex(), external_id.encode().hex(), data.hex(), content_hash, moment)


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
