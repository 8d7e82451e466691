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


from dataclasses import dataclass, field, replace

import msgspec

from chalicelib.core.clock import Clock
from chalicelib.core.database import insert_missing
from chalicelib.core.errors import AlreadyClaimed, PermanentError
from chalicelib.schema import sync_states
from chalicelib.tasks.external_sync.http_client import Validators

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


# What MySQL's TEXT holds.
MAX_POSITION = 65_535


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where a read that is not over goes on: at which answer, with what was counted and listed so far.

    `run` began it, of a source `declared` so. `listed` are pointers to the ids of a snapshot. `stalls` counts
    invocations in a row that came no further.
    """

    run: str
    declared: str
    started_at: int
    next: str | None = None
    pages: int = 0
    counts: dict[str, int] = {}
    inserted: int = 0
    listed: list[str] = []
    stalls: int = 0


@dataclass(frozen=True, kw_only=True)
class State:
    """A source's row as it was last seen; `version` is what moves with each change of it.

    `known` is how many items the source had at the end of its last snapshot.
    """

    version: int
    position: Position | None = None
    known: int | None = None
    validators: Validators = field(default_factory=Validators)


class _Cursor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the column `cursor` holds, as JSON; `address` and `declared` are those of the validators."""

    position: Position | None = None
    known: int | None = None
    address: str = ""
    declared: str = ""


class States:
    """The row of one source."""

    def __init__(self, database: Database, clock: Clock, *, source: str) -> None:
        self._database = database
        self._clock = clock
        self._source = source

    def load(self, *, is_rehearsal: bool) -> State:
        """Return how far the source has been read; its row is made where there is none yet."""

        def work(connection: Connection) -> Any:
            if not is_rehearsal:
                new = {"source": self._source, "updated_at": 0}
                connection.execute(insert_missing(sync_states, connection.dialect), new)
            return connection.execute(select(sync_states).where(sync_states.c.source == self._source)).one_or_none()

        row = self._database.transact(work)
        if row is None:
            return State(version=0)
        cursor = msgspec.json.decode(row.cursor or "{}", type=_Cursor)
        validators = Validators(
            address=cursor.address, declared=cursor.declared, etag=row.etag, last_modified=row.last_modified
        )
        return State(
            version=row.updated_at,
            position=cursor.position,
            known=cursor.known,
            validators=validators,
        )

    def save(self, state: State, **changed: Any) -> State:
        """Record a new state and return it. Raises AlreadyClaimed when another run has moved it since."""
        new = replace(state, **changed, version=max(self._clock.now_ms(), state.version + 1))
        validators = new.validators
        kept = _Cursor(position=new.position, known=new.known, address=validators.address, declared=validators.declared)
        cursor = msgspec.json.encode(kept).decode()
        if len(cursor.encode()) > MAX_POSITION:
            raise PermanentError(f"the next page's position has more than the {MAX_POSITION:,} bytes that can be kept")
        values = {
            "cursor": cursor,
            "etag": validators.etag,
            "last_modified": validators.last_modified,
            "snapshot_started_at": None if new.position is None else new.position.started_at,
            "updated_at": new.version,
        }
        statement = update(sync_states).where(self._is(state)).values(values)
        if self._database.transact(lambda connection: connection.execute(statement).rowcount) == 0:
            raise self._moved()
        return new

    def hold(self, connection: Connection, state: State) -> None:
        """Keep others from moving the state to the end of the transaction. Raises AlreadyClaimed when one has."""
        query = select(sync_states.c.source).where(self._is(state)).with_for_update()
        if connection.execute(query).one_or_none() is None:
            raise self._moved()

    def _is(self, state: State) -> Any:
        return (sync_states.c.source == self._source) & (sync_states.c.updated_at == state.version)

    def _moved(self) -> AlreadyClaimed:
        return AlreadyClaimed("another run is reading it")
