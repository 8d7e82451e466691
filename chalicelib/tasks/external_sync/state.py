"""The saved state of each source in `sync_states`, and the items that a snapshot lacks."""

from __future__ import annotations

from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection, func, select, update

from chalicelib.api import PermanentError, TransientError
from chalicelib.core.clock import Clock
from chalicelib.core.database import Database, insert_missing
from chalicelib.core.errors import AlreadyClaimed
from chalicelib.schema import external_data, sync_states
from chalicelib.tasks.external_sync.http_client import Validators

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


class _Cursor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The JSON in the column `cursor`; `address` and `declared` belong to the validators."""

    position: Position | None = None
    known: int | None = None
    address: str = ""
    declared: str = ""


class State:
    """The row of one source, inserted where there is none except in a dry run.

    `position` is where an unfinished read continues, `known` the number of items at the end of the last snapshot, and
    `validators` are those of the last complete response.
    """

    def __init__(self, database: Database, clock: Clock, *, source: str, is_dry_run: bool) -> None:
        def work(connection: Connection) -> Any:
            if not is_dry_run:
                new = {"source": source, "updated_at": 0}
                connection.execute(insert_missing(sync_states, connection.dialect), new)
            return connection.execute(select(sync_states).where(sync_states.c.source == source)).one_or_none()

        self._database, self._clock, self._source = database, clock, source
        row = database.transact(work)
        cursor = msgspec.json.decode((row and row.cursor) or "{}", type=_Cursor)
        self._version = row.updated_at if row else 0
        self.position, self.known, self.validators = cursor.position, cursor.known, Validators()
        if row:
            self.validators = Validators(
                url=cursor.address, declared=cursor.declared, etag=row.etag, last_modified=row.last_modified
            )

    def save(self) -> None:
        """Save what was assigned. Raises AlreadyClaimed when another run has saved since."""
        validators = self.validators
        cursor = _Cursor(position=self.position, known=self.known, address=validators.url, declared=validators.declared)
        encoded = msgspec.json.encode(cursor)
        if len(encoded) > MAX_POSITION:
            raise PermanentError(f"the next page's position has more than the {MAX_POSITION:,} bytes that can be kept")
        version = max(self._clock.now_ms(), self._version + 1)
        values = {
            "cursor": encoded.decode(),
            "etag": validators.etag,
            "last_modified": validators.last_modified,
            "snapshot_started_at": None if self.position is None else self.position.started_at,
            "updated_at": version,
        }
        statement = update(sync_states).where(self._is_unchanged()).values(values)
        if self._database.transact(lambda connection: connection.execute(statement).rowcount) == 0:
            raise AlreadyClaimed("another run is reading it")
        self._version = version

    def lock(self, connection: Connection) -> None:
        """Lock the row to the end of the transaction. Raises AlreadyClaimed when another run has saved since."""
        query = select(sync_states.c.source).where(self._is_unchanged()).with_for_update()
        if connection.execute(query).one_or_none() is None:
            raise AlreadyClaimed("another run is reading it")

    def _is_unchanged(self) -> Any:
        return (sync_states.c.source == self._source) & (sync_states.c.updated_at == self._version)


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


def count_present(database: Database, source: str) -> int:
    """Return how many items of a source are not marked as missing."""
    present = (external_data.c.source == source, external_data.c.missing_since.is_(None))
    query = select(func.count()).select_from(external_data).where(*present)
    return database.transact(lambda connection: connection.execute(query).scalar_one())


def find_missing(database: Database, source: str, seen: SeenIds, *, since: int, allowed: float) -> list[str]:
    """Return the ids of the rows that a snapshot, started at `since`, does not list.

    Raises TransientError for more than `allowed` rows: that looks like a fault of the source.
    """
    missing: list[str] = []
    after = ""
    query = select(external_data.c.id, external_data.c.external_id).where(
        # A row that another run has written since is newer than this snapshot.
        external_data.c.source == source,
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
