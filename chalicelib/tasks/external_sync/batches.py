"""Write a batch of items: most are unchanged, some are written, and some are refused into quarantine."""

from collections.abc import Collection, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import Connection, Dialect, Insert, delete, select
from sqlalchemy.dialects import mysql
from sqlalchemy.exc import IntegrityError

from chalicelib.core.database import Database
from chalicelib.core.outcome import Counts
from chalicelib.schema import quarantine
from chalicelib.tasks.external_sync import storage
from chalicelib.tasks.external_sync.items import Item, ItemParser, Refused
from chalicelib.tasks.external_sync.sources import Source
from chalicelib.tasks.external_sync.storage import Merge, MergeResult

# Enough for a person to see what is wrong with an item.
MAX_DATA = 10_000
MAX_REASON = 500
# How long a refused item stays that a source without snapshots no longer lists.
QUARANTINE_MS = 30 * 24 * 3_600_000


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
        # Usually few. Only valid items among them cost a statement to be deleted from quarantine.
        self._refused_ids = database.transact(lambda connection: refused_ids(connection, source=source.name))

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
        items, refused = self._parse(raw_items)
        known = frozenset() if self._expects_new else self._find_known(items)
        differing = [item for item in items.values() if item.content_hash not in known]
        invalid = {item.id: reason for item in differing if (reason := self._parser.validate(item)) is not None}
        refused += [items[id_].refuse(reason) for id_, reason in invalid.items()]
        valid = {item.id: item for item in differing if item.id not in invalid}
        merge = Merge(source=self._source.name, items=valid, requested_at=requested_at)
        if self._is_dry_run:
            merged = self._database.transact(merge.count)
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

    def _find_known(self, items: Mapping[str, Item]) -> Set[str]:
        return self._database.autocommit(
            lambda connection: storage.known_hashes(connection, items, source=self._source.name)
        )

    def _merge(self, merge: Merge, refused: Sequence[Refused], valid_again: set[str], *, now_ms: int) -> MergeResult:
        if not (merge.items or refused or valid_again):
            return MergeResult()

        def work(connection: Connection) -> MergeResult:
            merged = merge.insert(connection) if self._expects_new else merge.upsert(connection)
            _release(connection, valid_again, source=self._source.name)
            _quarantine(connection, [*refused, *merged.refused], source=self._source.name, now_ms=now_ms)
            return merged

        return self._database.transact(work)


def _ids(refused: Sequence[Refused]) -> set[str]:
    return {item.id for item in refused if item.id is not None}


def refused_ids(connection: Connection, *, source: str) -> set[str]:
    """Return the ids of the source's items in quarantine."""
    query = select(quarantine.c.external_id).where(quarantine.c.source == source, quarantine.c.external_id.is_not(None))
    return set(connection.execute(query).scalars())


def delete_unseen(connection: Connection, *, source: str, before_ms: int) -> None:
    """Delete items from quarantine that were last seen before a moment."""
    connection.execute(delete(quarantine).where(quarantine.c.source == source, quarantine.c.seen_at < before_ms))


def digest_of(item: Refused, *, source: str) -> str:
    """Return the primary key of a refused item."""
    return sha256(source.encode() + b"\0" + item.raw).hexdigest()


def _quarantine(connection: Connection, refused: Sequence[Refused], *, source: str, now_ms: int) -> None:
    """Write items to quarantine; each replaces the one with its id."""
    by_digest = {digest_of(item, source=source): item for item in refused}
    if not by_digest:
        return
    _release(connection, _ids(refused), source=source)
    values = [
        {
            "digest": digest,
            "source": source,
            "external_id": item.id,
            "reason": item.reason[:MAX_REASON],
            "data": item.raw[:MAX_DATA].decode("utf-8", "backslashreplace"),
            "seen_at": now_ms,
        }
        for digest, item in by_digest.items()
    ]
    connection.execute(_upsert(connection.dialect), values)


def _release(connection: Connection, ids: Collection[str], *, source: str) -> None:
    if ids:
        of_ids = quarantine.c.external_id.in_(list(ids))
        connection.execute(delete(quarantine).where(quarantine.c.source == source, of_ids))


def _upsert(dialect: Dialect) -> Insert:
    if dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        into = sqlite.insert(quarantine)
        new = {name: into.excluded[name] for name in ("reason", "seen_at")}
        return into.on_conflict_do_update(index_elements=[quarantine.c.digest], set_=new)
    statement = mysql.insert(quarantine)
    return statement.on_duplicate_key_update({name: statement.inserted[name] for name in ("reason", "seen_at")})
