"""The saved state of each source in `sync_states`, and the ids that a snapshot has seen."""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection, func, select, update

from chalicelib.core.clock import Clock
from chalicelib.core.database import Database, insert_missing
from chalicelib.core.errors import AlreadyClaimed, PermanentError, TransientError
from chalicelib.schema import external_data, sync_states
from chalicelib.tasks.external_sync.http_client import Validators
from chalicelib.tasks.external_sync.sources import Source

if TYPE_CHECKING:
    from chalicelib.queue.payloads import Payloads

# What MySQL's TEXT holds.
MAX_POSITION = 65_535
CHUNK = 1000
# In base64 that is eleven mebibytes.
IDS_PER_PAYLOAD = 1_000_000


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """Where an unfinished read continues: the next page, and the counts and ids so far.

    `run` started it, with a source of the fingerprint `declared`. `listed` are pointers to the ids of a snapshot.
    `stalls` counts consecutive invocations without progress.
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
    """A source's row as it was last read; each change increases `version`.

    `known` is the number of items at the end of the last snapshot.
    """

    version: int
    position: Position | None = None
    known: int | None = None
    validators: Validators = field(default_factory=Validators)


class _Cursor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The JSON in the column `cursor`; `address` and `declared` belong to the validators."""

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

    def load(self, *, is_dry_run: bool) -> State:
        """Return the source's state; insert its row where there is none, except in a dry run."""

        def work(connection: Connection) -> Any:
            if not is_dry_run:
                new = {"source": self._source, "updated_at": 0}
                connection.execute(insert_missing(sync_states, connection.dialect), new)
            return connection.execute(select(sync_states).where(sync_states.c.source == self._source)).one_or_none()

        row = self._database.transact(work)
        if row is None:
            return State(version=0)
        cursor = msgspec.json.decode(row.cursor or "{}", type=_Cursor)
        validators = Validators(
            url=cursor.address, declared=cursor.declared, etag=row.etag, last_modified=row.last_modified
        )
        return State(version=row.updated_at, position=cursor.position, known=cursor.known, validators=validators)

    def save(self, state: State, **changed: Any) -> State:
        """Save a changed state and return it. Raises AlreadyClaimed when another run has changed it since."""
        new = replace(state, **changed, version=max(self._clock.now_ms(), state.version + 1))
        validators = new.validators
        cursor = msgspec.json.encode(
            _Cursor(position=new.position, known=new.known, address=validators.url, declared=validators.declared)
        ).decode()
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
            raise AlreadyClaimed("another run is reading it")
        return new

    def lock(self, connection: Connection, state: State) -> None:
        """Lock the row to the end of the transaction. Raises AlreadyClaimed when another run has changed it."""
        query = select(sync_states.c.source).where(self._is(state)).with_for_update()
        if connection.execute(query).one_or_none() is None:
            raise AlreadyClaimed("another run is reading it")

    def _is(self, state: State) -> Any:
        return (sync_states.c.source == self._source) & (sync_states.c.updated_at == state.version)


class SeenIds:
    """The ids that a snapshot lists, as 56-bit digests, which need a third of the memory of their texts."""

    def __init__(self) -> None:
        self._digests: set[int] = set()

    def __len__(self) -> int:
        return len(self._digests)

    def __contains__(self, id_: str) -> bool:
        return _digest(id_) in self._digests

    def add(self, ids: Iterable[str]) -> None:
        """Add ids."""
        self._digests.update(map(_digest, ids))

    def store(self, payloads: Payloads) -> list[str]:
        """Store the digests for the next invocation, and return the pointers to them. Raises TransientError."""
        numbers = array("Q", self._digests)
        parts = (numbers[i : i + IDS_PER_PAYLOAD] for i in range(0, len(numbers), IDS_PER_PAYLOAD))
        return [payloads.store(b64encode(part.tobytes()).decode()) for part in parts]

    def restore(self, payloads: Payloads, pointers: Iterable[str]) -> None:
        """Add the stored digests. Raises PermanentError where they are deleted, TransientError."""
        for pointer in pointers:
            numbers = array("Q")
            numbers.frombytes(b64decode(payloads.fetch(pointer)))
            self._digests.update(numbers)


def _digest(id_: str) -> int:
    return int.from_bytes(blake2b(id_.encode(), digest_size=7).digest(), "big")


def count_present(database: Database, source: Source) -> int:
    """Return how many items of a source are not marked as missing."""
    present = (external_data.c.source == source.name, external_data.c.missing_since.is_(None))
    query = select(func.count()).select_from(external_data).where(*present)
    return database.transact(lambda connection: connection.execute(query).scalar_one())


def find_missing(database: Database, source: Source, seen: SeenIds, *, since: int, allowed: float) -> list[str]:
    """Return the ids of the rows that a snapshot, started at `since`, does not list.

    Raises TransientError for more than `allowed` rows: that looks like a fault of the source.
    """
    missing: list[str] = []
    after = ""
    query = select(external_data.c.id, external_data.c.external_id).where(
        # A row that another run has written since is newer than this snapshot.
        external_data.c.source == source.name,
        external_data.c.missing_since.is_(None),
        external_data.c.synced_at <= since,
    )
    # Otherwise MySQL may sort the whole source for each chunk.
    query = query.with_hint(external_data, "FORCE INDEX (PRIMARY)", "mysql").order_by(external_data.c.id).limit(CHUNK)

    def read_chunk(connection: Connection) -> Sequence[Any]:
        return connection.execute(query.where(external_data.c.id > after)).all()

    while chunk := database.transact(read_chunk):
        after = chunk[-1].id
        missing += [row.id for row in chunk if row.external_id not in seen]
        if len(missing) > allowed:
            raise TransientError(
                f"the snapshot lacks at least {len(missing):,} items, more than may be lost at once, so none is marked "
                "as missing; if that is correct, run the task with accept_loss"
            )
    return missing


def mark_missing(database: Database, ids: list[str], *, since: int, lock_state: Callable[[Connection], None]) -> None:
    """Mark rows as missing; `lock_state` raises where another run has taken over."""
    for start in range(0, len(ids), CHUNK):
        marking = update(external_data).values(missing_since=since)
        marking = marking.where(
            external_data.c.id.in_(ids[start : start + CHUNK]),
            external_data.c.missing_since.is_(None),
            external_data.c.synced_at <= since,
        )

        def work(connection: Connection, marking: Any = marking) -> None:
            lock_state(connection)
            connection.execute(marking)

        database.transact(work)
