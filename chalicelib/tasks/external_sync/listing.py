"""What a snapshot has listed so far, and what it therefore lacks."""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, Select, Update, func, select, update

from chalicelib.core.database import Database
from chalicelib.core.errors import TransientError
from chalicelib.schema import external_data as rows
from chalicelib.tasks.external_sync.sources import Source

if TYPE_CHECKING:
    from chalicelib.queue.payloads import Payloads

CHUNK = 1000
# Digests in one payload, of which base64 makes eleven mebibytes.
PIECE = 1_000_000


class Listing:
    """The ids that were listed, as digests of 56 bits: a million of them are a third of the memory of their texts."""

    def __init__(self) -> None:
        self._digests: set[int] = set()

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, id_: str) -> bool:
        return _digest(id_) in self._digests

    def add(self, ids: Iterable[str]) -> None:
        """Note that these were listed."""
        self._digests.update(map(_digest, ids))

    def store(self, payloads: Payloads) -> list[str]:
        """Put the listing where another invocation finds it, and return the pointers to it. Raises TransientError."""
        numbers = array("Q", self._digests)
        pieces = (numbers[i : i + PIECE] for i in range(0, len(numbers), PIECE))
        return [payloads.store(b64encode(piece.tobytes()).decode()) for piece in pieces]

    def restore(self, payloads: Payloads, pointers: Iterable[str]) -> None:
        """Add what another invocation stored. Raises PermanentError where that is no more, TransientError."""
        for pointer in pointers:
            numbers = array("Q")
            numbers.frombytes(b64decode(payloads.fetch(pointer)))
            self._digests.update(numbers)


def _digest(id_: str) -> int:
    return int.from_bytes(blake2b(id_.encode(), digest_size=7).digest(), "big")


def count_present(database: Database, source: Source) -> int:
    """Return how many items of a source are not marked as missing."""
    query = select(func.count()).select_from(rows).where(rows.c.source == source.name, rows.c.missing_since.is_(None))
    return database.transact(lambda connection: connection.execute(query).scalar_one())


def find_missing(database: Database, source: Source, listing: Listing, *, since: int, most: float) -> list[str]:
    """Return the ids of the rows that a snapshot, begun at `since`, did not list.

    Raises TransientError where they are more than `most`: that looks like a fault of the source's.
    """
    missing: list[str] = []
    after = ""
    query = select(rows.c.id, rows.c.external_id).where(
        # What another run has written meanwhile is newer than this snapshot.
        rows.c.source == source.name,
        rows.c.missing_since.is_(None),
        rows.c.synced_at <= since,
    )
    # Otherwise MySQL may sort the whole source for each chunk.
    query = query.with_hint(rows, "FORCE INDEX (PRIMARY)", "mysql").order_by(rows.c.id).limit(CHUNK)
    while chunk := _fetch(database, query.where(rows.c.id > after)):
        after = chunk[-1].id
        missing += [row.id for row in chunk if row.external_id not in listing]
        if len(missing) > most:
            raise TransientError(
                f"the snapshot lacks at least {len(missing):,} items, more than may be lost at once, so none is marked "
                "as missing; where that is right, a run with accept_loss marks them"
            )
    return missing


def _fetch(database: Database, query: Select[Any]) -> Sequence[Row[Any]]:
    return database.transact(lambda connection: connection.execute(query).all())


def mark_missing(database: Database, ids: list[str], *, since: int, hold: Callable[[Connection], None]) -> None:
    """Mark rows as missing; `hold` raises where another run has taken over."""
    for start in range(0, len(ids), CHUNK):
        of_chunk = rows.c.id.in_(ids[start : start + CHUNK])
        unchanged = (rows.c.missing_since.is_(None), rows.c.synced_at <= since)
        _mark(database, update(rows).where(of_chunk, *unchanged).values(missing_since=since), hold)


def _mark(database: Database, marking: Update, hold: Callable[[Connection], None]) -> None:
    def work(connection: Connection) -> None:
        hold(connection)
        connection.execute(marking)

    database.transact(work)
