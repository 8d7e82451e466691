"""Items that were refused: each once, with the reason, until it is valid or is there no more."""

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
from chalicelib.tasks.external_sync.items import Item, Reader, Refused
from chalicelib.tasks.external_sync.sources import Source
from chalicelib.tasks.external_sync.storage import Merge, Merged

# What a person needs in order to see what is wrong with it.
MAX_DATA = 10_000
MAX_REASON = 500
# Of one that a source, of which no read is complete, shows no more.
KEPT_MS = 30 * 24 * 3_600_000


def refused_ids(connection: Connection, *, source: str) -> set[str]:
    """Return the ids of the source's items that are in quarantine."""
    query = select(quarantine.c.external_id).where(quarantine.c.source == source, quarantine.c.external_id.is_not(None))
    return set(connection.execute(query).scalars())


def put(connection: Connection, refused: Sequence[Refused], *, source: str, now_ms: int) -> None:
    """Put items in quarantine, each in place of what there was of its id."""
    by_digest = {digest_of(item, source=source): item for item in refused}
    if not by_digest:
        return
    clear(connection, {item.id for item in refused if item.id is not None}, source=source)
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


def clear(connection: Connection, ids: Collection[str], *, source: str) -> None:
    """Take items out that are valid by now."""
    if ids:
        connection.execute(
            delete(quarantine).where(quarantine.c.source == source, quarantine.c.external_id.in_(list(ids)))
        )


def expire(connection: Connection, *, source: str, before_ms: int) -> None:
    """Take out what was not seen since."""
    connection.execute(delete(quarantine).where(quarantine.c.source == source, quarantine.c.seen_at < before_ms))


def digest_of(item: Refused, *, source: str) -> str:
    """Return what tells a refused item from any other."""
    return sha256(source.encode() + b"\0" + item.raw).hexdigest()


def _upsert(dialect: Dialect) -> Insert:
    if dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        into = sqlite.insert(quarantine)
        new = {name: into.excluded[name] for name in ("reason", "seen_at")}
        return into.on_conflict_do_update(index_elements=[quarantine.c.digest], set_=new)
    statement = mysql.insert(quarantine)
    return statement.on_duplicate_key_update({name: statement.inserted[name] for name in ("reason", "seen_at")})


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What became of a batch: how many, and of these inserted, which ids it listed, valid or not, what was refused."""

    counts: Counts
    inserted: int
    ids: Sequence[str]
    refused: Sequence[Refused]


class Intake:
    """Takes the items of one source into `external_data`; with `is_rehearsal` it only says what it would do.

    Of two items with one id, the one that changed last is taken, or the one that came last.
    """

    def __init__(self, database: Database, source: Source, *, is_rehearsal: bool) -> None:
        self._database = database
        self._source = source
        self._reader = Reader(source)
        self._is_rehearsal = is_rehearsal
        self._expects_new = False
        # Few, as a rule; knowing them, a valid item costs no statement to take it out.
        self._refused_ids = database.transact(lambda connection: refused_ids(connection, source=source.name))

    def take(self, raws: Sequence[bytes], *, asked_at: int, now_ms: int) -> Taken:
        """Take a batch from an answer that was asked for at `asked_at`; write what it changes in one transaction."""
        if self._expects_new:
            # Where that is wrong the database says so, and nothing is written. Begun anew and not from a savepoint: a
            # deadlock takes that with it, and its rollback then hides it.
            with suppress(IntegrityError):
                return self._take(raws, asked_at=asked_at, now_ms=now_ms)
            self._expects_new = False
        return self._take(raws, asked_at=asked_at, now_ms=now_ms)

    def _take(self, raws: Sequence[bytes], *, asked_at: int, now_ms: int) -> Taken:
        items, refused = self._read(raws)
        settled = frozenset() if self._expects_new else self._find_settled(items)
        differing = [item for item in items.values() if item.content_hash not in settled]
        unfit = {item.id: reason for item in differing if (reason := self._reader.check(item)) is not None}
        refused += [items[id_].refuse(reason) for id_, reason in unfit.items()]
        fit = {item.id: item for item in differing if item.id not in unfit}
        merge = Merge(source=self._source.name, items=fit, asked_at=asked_at)
        if self._is_rehearsal:
            merged = self._database.transact(merge.rehearse)
        else:
            valid_again = self._refused_ids & (items.keys() - _ids(refused))
            merged = self._write(merge, refused, valid_again, now_ms=now_ms)
            self._refused_ids = (self._refused_ids - valid_again) | _ids(refused) | _ids(merged.refused)
            # A batch of which nothing was known is rarely the last one such.
            self._expects_new = not settled and merged.inserted == len(fit)
        refused += merged.refused
        succeeded = merged.inserted + merged.changed
        skipped = len(raws) - succeeded - len(refused)
        return Taken(
            counts=Counts(total=len(raws), succeeded=succeeded, failed=len(refused), skipped=skipped),
            inserted=merged.inserted,
            ids=[*items, *(_ids(refused) - items.keys())],
            refused=refused,
        )

    def _read(self, raws: Sequence[bytes]) -> tuple[dict[str, Item], list[Refused]]:
        items: dict[str, Item] = {}
        refused: list[Refused] = []
        for read in map(self._reader.read, raws):
            if isinstance(read, Refused):
                refused.append(read)
            elif not (earlier := items.get(read.id)) or (read.changed_at or 0) >= (earlier.changed_at or 0):
                items[read.id] = read
        return items, refused

    def _find_settled(self, items: Mapping[str, Item]) -> Set[str]:
        return self._database.autocommit(
            lambda connection: storage.settled_hashes(connection, items, source=self._source.name)
        )

    def _write(self, merge: Merge, refused: Sequence[Refused], valid_again: set[str], *, now_ms: int) -> Merged:
        if not (merge.items or refused or valid_again):
            return Merged()

        def work(connection: Connection) -> Merged:
            merged = merge.insert(connection) if self._expects_new else merge.perform(connection)
            clear(connection, valid_again, source=self._source.name)
            bad = [*refused, *merged.refused]
            put(connection, bad, source=self._source.name, now_ms=now_ms)
            return merged

        return self._database.transact(work)


def _ids(refused: Sequence[Refused]) -> set[str]:
    return {item.id for item in refused if item.id is not None}
