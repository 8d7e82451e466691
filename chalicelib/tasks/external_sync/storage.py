"""The rows of `external_data`: found, inserted and overwritten in few statements, and with little work.

Texts stand in the statements as hexadecimal digits. Drivers look at every character of a parameter for what is to be
escaped, which is most of the work of an insert; digits need none, and nothing that they say is ever taken for SQL.
Not LOAD DATA: what is new is a sixth quicker with it, and slower by way of the table that the rest would have to be
compared from; and a client that allows it lets the server ask for any of its files.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, Dialect, Row

from chalicelib.schema import external_data
from chalicelib.tasks.external_sync.items import Item, Refused

# The row's id, and of its item: id, data, content hash, and when it changed. The rest is the same for all of a batch.
Values = tuple[str, str, bytes, str, int | None]
COLUMNS = ("id", "external_id", "data", "content_hash", "changed_at", "synced_at", "source")
# As drivers have it for their own; every server takes four times that.
MAX_STATEMENT = 1024 * 1024

# One value and not a row each: reading rows is most of what an unchanged item costs. MySQL cuts the value off after a
# kilobyte unless told otherwise, as MariaDB does after a megabyte; what is cut off is then looked at once more.
SETTLED = f"""
    SELECT /*+ SET_VAR(group_concat_max_len = 16777216) */ GROUP_CONCAT(content_hash)
    FROM {external_data.name} WHERE external_id IN (%s) AND source = %s AND missing_since IS NULL
"""  # noqa: S608 (its own table)

STANDING = f"""
    SELECT id, external_id, source, content_hash, changed_at, synced_at, missing_since
    FROM {external_data.name} WHERE external_id IN (%s) %s
"""  # noqa: S608 (as above)
ARRIVED = f"SELECT external_id FROM {external_data.name} WHERE id IN (%s)"  # noqa: S608 (as above)


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
        statement = f"INSERT INTO {external_data.name} ({', '.join(COLUMNS)}) VALUES {values} {behind}"  # noqa: S608 (as above)
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


@dataclass(frozen=True, kw_only=True)
class Merged:
    """How many items were inserted and overwritten, and those that could not be since their id is somebody else's."""

    inserted: int = 0
    changed: int = 0
    refused: Sequence[Refused] = ()


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Items of one source, by id, from an answer that was asked for at `asked_at`, in ms."""

    source: str
    items: Mapping[str, Item]
    asked_at: int

    def insert(self, connection: Connection) -> Merged:
        """Insert items that are believed to be new. Raises IntegrityError where an id is taken."""
        new = self._new_rows({})
        insert(connection, new, source=self.source, synced_at=self.asked_at)
        return Merged(inserted=len(new))

    def perform(self, connection: Connection) -> Merged:
        """Insert and overwrite, whatever there is already, and whoever else does so at the same time."""
        standing = find(connection, self.items, is_locking=True)
        new = self._new_rows(standing)
        taken = insert_missing(connection, new, source=self.source, synced_at=self.asked_at)
        # By another run just now; or the id equals another one in a way that only the database's collation sees.
        standing |= find(connection, taken, is_locking=True)
        equal = "its id equals another, but for case or accents"
        refused = [self.items[id_].refuse(equal) for id_ in sorted(taken - standing.keys())]
        changed, foreign = self._compare(standing)
        values = [_values(standing[id_].id, self.items[id_]) for id_ in changed]
        overwrite(connection, values, source=self.source, synced_at=self.asked_at)
        return Merged(inserted=len(new) - len(taken), changed=len(changed), refused=[*refused, *foreign])

    def rehearse(self, connection: Connection) -> Merged:
        """Say what `perform` would do."""
        standing = find(connection, self.items, is_locking=False)
        changed, foreign = self._compare(standing)
        return Merged(inserted=len(self.items) - len(standing), changed=len(changed), refused=foreign)

    def _compare(self, standing: Mapping[str, Row[Any]]) -> tuple[list[str], list[Refused]]:
        changed: list[str] = []
        foreign: list[Refused] = []
        for id_, row in standing.items():
            item = self.items[id_]
            if row.source not in {"", self.source}:
                foreign.append(item.refuse(f"its id belongs to the source {row.source}"))
            elif _differs(item, row) and not self._is_older(item, row):
                changed.append(id_)
        return changed, foreign

    def _is_older(self, item: Item, row: Row[Any]) -> bool:
        if item.changed_at is not None and row.changed_at is not None and item.changed_at != row.changed_at:
            return bool(item.changed_at < row.changed_at)
        # A run that asked later may have been faster.
        return bool(row.synced_at > self.asked_at)

    def _new_rows(self, standing: Mapping[str, Row[Any]]) -> list[Values]:
        # In order, as every other run does it, so that few of them meet in a deadlock.
        fresh = sorted(self.items.keys() - standing.keys())
        return [_values(new_id, self.items[id_]) for id_, new_id in zip(fresh, _new_ids(len(fresh)), strict=True)]


def _values(id_: str, item: Item) -> Values:
    return id_, item.id, item.data, item.content_hash, item.changed_at


def _new_ids(count: int) -> list[str]:
    """Return UUIDs of version 7 that follow one another: rows that are inserted together then lie together.

    Keys at random would spread the rows of each batch over the whole table, and a look at them over the whole disk.
    """
    moment, digits = f"{time.time_ns() // 1_000_000:012x}", token_hex(8 * count)
    begin = f"{moment[:8]}-{moment[8:]}-7"
    return [
        f"{begin}{n & 0xFFF:03x}-8{digits[16 * n : 16 * n + 3]}-{digits[16 * n + 3 : 16 * n + 15]}"
        for n in range(count)
    ]


def _differs(item: Item, row: Row[Any]) -> bool:
    return row.content_hash != item.content_hash or row.source == "" or row.missing_since is not None
