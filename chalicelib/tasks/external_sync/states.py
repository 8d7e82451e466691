"""How far each source has been read: the row of `sync_states`, moved only by whoever knows where it stands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from sqlalchemy import Connection, select, update

from chalicelib.core.clock import Clock
from chalicelib.core.database import Database, insert_missing
from chalicelib.core.errors import AlreadyClaimed, PermanentError
from chalicelib.schema import sync_states
from chalicelib.tasks.external_sync.validators import Validators

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
