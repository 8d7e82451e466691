"""Write batches of items to `external_data` in few statements, and refused items to `quarantine`.

Statements contain texts as hexadecimal digits. Escaping every character of a parameter would be most of the work of an
insert; digits need no escaping, and cannot be taken for SQL.
LOAD DATA inserts new rows a sixth faster, but comparing the others through a table is slower, and a client that allows
it lets the server read any of its files.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from secrets import token_hex
from typing import Any

from sqlalchemy import Connection, Dialect, Row, delete, insert, select
from sqlalchemy.exc import IntegrityError

from chalicelib.api import Counts
from chalicelib.core.database import Database
from chalicelib.schema import external_data, quarantine
from chalicelib.tasks.external_sync.items import Item, ItemParser, Refused
from chalicelib.tasks.external_sync.sources import Source

# Enough for a person to see what is wrong with an item.
MAX_DATA = 10_000
MAX_REASON = 500
# The row's id, and the item's id, data, content hash and change. The other columns are the same for a whole batch.
Values = tuple[str, str, bytes, str, int | None]
COLUMNS = ("id", "external_id", "data", "content_hash", "changed_at", "synced_at", "source")
# The drivers' own limit; every server accepts four times that.
MAX_STATEMENT = 1024 * 1024

# One value instead of a row for each item: reading rows is most of the cost of unchanged items. MySQL truncates the
# value at a kilobyte by default, MariaDB at a megabyte. Items whose hash is cut off are compared by `find`.
FIND_KNOWN = f"""
    SELECT /*+ SET_VAR(group_concat_max_len = 16777216) */ GROUP_CONCAT(content_hash)
    FROM {external_data.name} WHERE external_id IN (%s) AND source = %s AND missing_since IS NULL
"""  # noqa: S608 (its own table)

FIND = f"""
    SELECT id, external_id, source, content_hash, changed_at, synced_at, missing_since
    FROM {external_data.name} WHERE external_id IN (%s) %s
"""  # noqa: S608 (as above)
FIND_INSERTED = f"SELECT external_id FROM {external_data.name} WHERE id IN (%s)"  # noqa: S608 (as above)


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """A batch's counts, how many items were inserted, the ids of all its items, valid or not, and the refused items."""

    counts: Counts
    inserted: int
    ids: Sequence[str]
    refused: Sequence[Refused]


class BatchWriter:
    """Writes the items of one source to `external_data`, and refused items to `quarantine`.

    With `is_dry_run` it only counts. Of two items with the same id, the one that changed last wins, or else the later
    one in the response.
    """

    def __init__(self, database: Database, source: Source, *, is_dry_run: bool) -> None:
        self._database = database
        self._source = source
        self._parser = ItemParser(source)
        self._is_dry_run = is_dry_run
        self._expects_new = False
        of_source = (quarantine.c.source == source.name, quarantine.c.external_id.is_not(None))
        query = select(quarantine.c.external_id).where(*of_source)
        # Usually few. Only valid items among them cost a statement to be deleted from quarantine.
        self._refused_ids = database.transact(lambda connection: set(connection.execute(query).scalars()))

    def write(self, raw_items: Sequence[bytes], *, requested_at: int, now_ms: int) -> BatchResult:
        """Write a batch from a response that was requested at `requested_at`, in one transaction."""
        if self._expects_new:
            # If a row exists after all, the database refuses and nothing is written. Repeated in a new transaction and
            # not from a savepoint: a deadlock removes the savepoint, and rolling back to it would hide the deadlock.
            with suppress(IntegrityError):
                return self._write(raw_items, requested_at=requested_at, now_ms=now_ms)
            self._expects_new = False
        return self._write(raw_items, requested_at=requested_at, now_ms=now_ms)

    def _write(self, raw_items: Sequence[bytes], *, requested_at: int, now_ms: int) -> BatchResult:
        database, source = self._database, self._source.name
        items, refused = self._parse(raw_items)
        known: Set[str] = frozenset()
        if not self._expects_new:
            known = database.autocommit(lambda connection: known_hashes(connection, items, source=source))
        differing = [item for item in items.values() if item.content_hash not in known]
        invalid = {item.id: reason for item in differing if (reason := self._parser.validate(item)) is not None}
        refused += [items[id_].refuse(reason) for id_, reason in invalid.items()]
        valid = {item.id: item for item in differing if item.id not in invalid}
        merge = Merge(source=source, items=valid, requested_at=requested_at)
        if self._is_dry_run:
            merged = database.transact(merge.count)
        else:
            valid_again = self._refused_ids & (items.keys() - _ids(refused))
            merged = self._merge(merge, refused, valid_again, now_ms=now_ms)
            self._refused_ids = (self._refused_ids - valid_again) | _ids(refused) | _ids(merged.refused)
            # After a batch without any known item, the next one rarely has any.
            self._expects_new = not known and merged.inserted == len(valid)
        refused += merged.refused
        succeeded = merged.inserted + merged.changed
        skipped = len(raw_items) - succeeded - len(refused)
        return BatchResult(
            counts=Counts(total=len(raw_items), succeeded=succeeded, failed=len(refused), skipped=skipped),
            inserted=merged.inserted,
            ids=[*items, *(_ids(refused) - items.keys())],
            refused=refused,
        )

    def _parse(self, raw_items: Sequence[bytes]) -> tuple[dict[str, Item], list[Refused]]:
        items: dict[str, Item] = {}
        refused: list[Refused] = []
        for parsed in map(self._parser.parse, raw_items):
            if isinstance(parsed, Refused):
                refused.append(parsed)
            elif not (earlier := items.get(parsed.id)) or (parsed.changed_at or 0) >= (earlier.changed_at or 0):
                items[parsed.id] = parsed
        return items, refused

    def _merge(self, merge: Merge, refused: Sequence[Refused], valid_again: set[str], *, now_ms: int) -> MergeResult:
        if not (merge.items or refused or valid_again):
            return MergeResult()

        def work(connection: Connection) -> MergeResult:
            merged = merge.insert(connection) if self._expects_new else merge.upsert(connection)
            _release(connection, valid_again, source=merge.source)
            _quarantine(connection, [*refused, *merged.refused], source=merge.source, now_ms=now_ms)
            return merged

        return self._database.transact(work)


def _ids(refused: Sequence[Refused]) -> set[str]:
    return {item.id for item in refused if item.id is not None}


def _quarantine(connection: Connection, refused: Sequence[Refused], *, source: str, now_ms: int) -> None:
    """Write items to quarantine; each replaces its earlier copy and the one with its id."""
    rows = {
        (digest := sha256(source.encode() + b"\0" + item.raw).hexdigest()): {
            "digest": digest,
            "source": source,
            "external_id": item.id,
            "reason": item.reason[:MAX_REASON],
            "data": item.raw[:MAX_DATA].decode("utf-8", "backslashreplace"),
            "seen_at": now_ms,
        }
        for item in refused
    }
    if rows:
        _release(connection, _ids(refused), source=source)
        connection.execute(delete(quarantine).where(quarantine.c.digest.in_(list(rows))))
        connection.execute(insert(quarantine), list(rows.values()))


def _release(connection: Connection, ids: Collection[str], *, source: str) -> None:
    if ids:
        of_ids = quarantine.c.external_id.in_(list(ids))
        connection.execute(delete(quarantine).where(quarantine.c.source == source, of_ids))


@dataclass(frozen=True, kw_only=True)
class MergeResult:
    """How many items were inserted and overwritten, and the items whose id belongs to another source."""

    inserted: int = 0
    changed: int = 0
    refused: Sequence[Refused] = ()


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Items of one source by id, from a response that was requested at `requested_at` (ms)."""

    source: str
    items: Mapping[str, Item]
    requested_at: int

    def insert(self, connection: Connection) -> MergeResult:
        """Insert items that are expected to be new. Raises IntegrityError where an id exists."""
        new = self._new_rows({})
        _insert(connection, new, source=self.source, synced_at=self.requested_at)
        return MergeResult(inserted=len(new))

    def upsert(self, connection: Connection) -> MergeResult:
        """Insert and overwrite items, safely with concurrent runs."""
        existing = find(connection, self.items, is_locking=True)
        new = self._new_rows(existing)
        taken = _insert_missing(connection, new, source=self.source, synced_at=self.requested_at)
        # Taken by a concurrent run, or by an id that is equal in the database's collation only.
        existing |= find(connection, taken, is_locking=True)
        equal = "its id equals another, but for case or accents"
        refused = [self.items[id_].refuse(equal) for id_ in sorted(taken - existing.keys())]
        changed, foreign = self._compare(existing)
        values = [_values(existing[id_].id, self.items[id_]) for id_ in changed]
        _overwrite(connection, values, source=self.source, synced_at=self.requested_at)
        return MergeResult(inserted=len(new) - len(taken), changed=len(changed), refused=[*refused, *foreign])

    def count(self, connection: Connection) -> MergeResult:
        """Return what `upsert` would return, without writing."""
        existing = find(connection, self.items, is_locking=False)
        changed, foreign = self._compare(existing)
        return MergeResult(inserted=len(self.items) - len(existing), changed=len(changed), refused=foreign)

    def _compare(self, existing: Mapping[str, Row[Any]]) -> tuple[list[str], list[Refused]]:
        changed: list[str] = []
        foreign: list[Refused] = []
        for id_, row in existing.items():
            item = self.items[id_]
            if row.source not in {"", self.source}:
                foreign.append(item.refuse(f"its id belongs to the source {row.source}"))
                continue
            stored = (row.content_hash, row.source, row.missing_since)
            if item.changed_at is not None and row.changed_at is not None and item.changed_at != row.changed_at:
                is_older = item.changed_at < row.changed_at
            else:
                # A run that sent its request later may have written first.
                is_older = row.synced_at > self.requested_at
            if stored != (item.content_hash, self.source, None) and not is_older:
                changed.append(id_)
        return changed, foreign

    def _new_rows(self, existing: Mapping[str, Row[Any]]) -> list[Values]:
        # Every run inserts in this order, which avoids most deadlocks.
        fresh = sorted(self.items.keys() - existing.keys())
        return [_values(new_id, self.items[id_]) for id_, new_id in zip(fresh, _new_ids(len(fresh)), strict=True)]


def _values(id_: str, item: Item) -> Values:
    return id_, item.id, item.data, item.content_hash, item.changed_at


def _new_ids(count: int) -> list[str]:
    """Return consecutive UUIDs of version 7: rows that are inserted together are stored together.

    Random keys would spread each batch over the whole table, and reading it over the whole disk.
    """
    moment, digits = f"{time.time_ns() // 1_000_000:012x}", token_hex(8 * count)
    prefix = f"{moment[:8]}-{moment[8:]}-7"
    return [
        f"{prefix}{n & 0xFFF:03x}-8{digits[16 * n : 16 * n + 3]}-{digits[16 * n + 3 : 16 * n + 15]}"
        for n in range(count)
    ]


def known_hashes(connection: Connection, ids: Collection[str], *, source: str) -> Set[str]:
    """Return the stored content hashes of the source's items with these ids."""
    if not ids:
        return frozenset()
    among, of_source = (_listed(texts, connection.dialect) for texts in (ids, [source]))
    hashes = connection.exec_driver_sql(FIND_KNOWN % (among, of_source)).scalar_one()
    return frozenset(hashes.split(",")) if hashes else frozenset()


def find(connection: Connection, ids: Collection[str], *, is_locking: bool) -> dict[str, Row[Any]]:
    """Return the rows with these ids, of any source, and lock them to the end of the transaction if `is_locking`."""
    if not ids:
        return {}
    # SQLite has no row locks: one writer locks the database.
    lock = "FOR UPDATE" if is_locking and connection.dialect.name != "sqlite" else ""
    statement = FIND % (_listed(ids, connection.dialect), lock)
    found = {row.external_id: row for row in connection.exec_driver_sql(statement)}
    # MySQL's collations ignore case and accents.
    return {id_: found[id_] for id_ in ids if id_ in found}


def _insert(connection: Connection, new: Sequence[Values], *, source: str, synced_at: int, suffix: str = "") -> None:
    """Insert rows. Raises IntegrityError where an id is taken."""
    literal = _literal(connection.dialect)
    # The hash is hexadecimal already.
    form = f"({literal},{literal},{literal},'%s',%s,{synced_at:d},{literal % source.encode().hex()})"
    for chunk in _chunks(_texts(new, form), length=MAX_STATEMENT):
        values = ",".join(chunk)
        statement = f"INSERT INTO {external_data.name} ({', '.join(COLUMNS)}) VALUES {values} {suffix}"  # noqa: S608 (as above)
        connection.exec_driver_sql(statement)


def _insert_missing(connection: Connection, new: Sequence[Values], *, source: str, synced_at: int) -> set[str]:
    """Insert rows, and return the external ids that are taken already."""
    if not new:
        return set()
    suffix = "ON CONFLICT DO NOTHING" if connection.dialect.name == "sqlite" else "ON DUPLICATE KEY UPDATE id = id"
    _insert(connection, new, source=source, synced_at=synced_at, suffix=suffix)
    ids = _listed((row[0] for row in new), connection.dialect)
    return {row[1] for row in new} - set(connection.exec_driver_sql(FIND_INSERTED % ids).scalars())


def _overwrite(connection: Connection, changed: Sequence[Values], *, source: str, synced_at: int) -> None:
    """Overwrite existing, locked rows; none of them is missing any more."""
    is_sqlite = connection.dialect.name == "sqlite"
    clause, value = (
        ("ON CONFLICT (id) DO UPDATE SET", "excluded.%s") if is_sqlite else ("ON DUPLICATE KEY UPDATE", "VALUES(%s)")
    )
    assignments = ", ".join(f"{name} = {value % name}" for name in COLUMNS[2:])
    suffix = f"{clause} {assignments}, missing_since = NULL"
    _insert(connection, changed, source=source, synced_at=synced_at, suffix=suffix)


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
    """Yield lists of texts of at most this length in all; a longer text is a list of its own."""
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
