"""The folder of a backup: `backups/<id>/` in the bucket; ids sort by the time of what the backup holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chalicelib.core.errors import InvalidRequestError, TransientError

if TYPE_CHECKING:
    from chalicelib.core.store import Store, StoredObject

PREFIX = "backups/"
MANIFEST = "manifest.json"
# Written after a backup was read back, and after it was restored on trial.
VERIFIED, DRILLED = "verified.json", "drilled.json"

_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}", re.ASCII)
_PART = re.compile(r"\d{5,}\.(?:sql|sqlite)\.zst(?:\.enc)?", re.ASCII)
_MOMENT = "%Y%m%dT%H%M%SZ"


def new_id(taken_at: datetime, *, run_id: str, attempt: int) -> str:
    """Return the id of a backup of this moment, by this attempt at the run: 20261125T010000Z-1a2b3c01."""
    return f"{taken_at.astimezone(UTC).strftime(_MOMENT)}-{run_id.replace('-', '')[:6]}{attempt % 256:02x}"


def moment_of(id: str) -> datetime:
    """Return the moment of the backup with this id. Raises InvalidRequestError for what is no id."""
    if _ID.fullmatch(id):
        try:
            return datetime.strptime(id.partition("-")[0], _MOMENT).replace(tzinfo=UTC)
        except ValueError:
            pass
    raise InvalidRequestError(f"{id!r} is no backup's id; they look like 20261125T010000Z-1a2b3c01")


def is_id(text: str) -> bool:
    """Return whether a text is a backup's id."""
    try:
        moment_of(text)
    except InvalidRequestError:
        return False
    return True


def is_part(name: str) -> bool:
    """Return whether an object of this name can be a part; no such name leads out of the backup's folder."""
    return _PART.fullmatch(name) is not None


def is_ours(name: str) -> bool:
    """Return whether an object of this name in a backup's folder was written by a backup."""
    return name in {MANIFEST, VERIFIED, DRILLED} or is_part(name)


def key_of(id: str, name: str) -> str:
    """Return an object's key."""
    return f"{PREFIX}{id}/{name}"


def mark(store: Store, id: str, name: str) -> None:
    """Write a mark. Raises TransientError."""
    store.put(key_of(id, name), b"{}\n", content_type="application/json")


def unmark(store: Store, id: str, name: str) -> None:
    """Take a mark away. Raises TransientError."""
    for reason in store.delete([key_of(id, name)]).values():
        raise TransientError(f"the mark {name} of backup {id} cannot be taken away: {reason}")


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A folder of the bucket in which a backup was written, or begun."""

    id: str
    # By name; what a backup does not write is not among them.
    objects: Mapping[str, StoredObject]

    @property
    def taken_at(self) -> datetime:
        """The moment that it holds."""
        return moment_of(self.id)

    @property
    def finished_at(self) -> datetime | None:
        """When its manifest was written; None: it is not a backup, whatever lies there."""
        return self._written_at(MANIFEST)

    @property
    def verified_at(self) -> datetime | None:
        """When it was last read back whole."""
        return self._written_at(VERIFIED)

    @property
    def drilled_at(self) -> datetime | None:
        """When it was last restored on trial."""
        return self._written_at(DRILLED)

    @property
    def touched_at(self) -> datetime:
        """When anything was last written to it."""
        return max(found.modified_at for found in self.objects.values())

    @property
    def bytes(self) -> int:
        """The bytes that it takes up in the bucket."""
        return sum(found.size for found in self.objects.values())

    def _written_at(self, name: str) -> datetime | None:
        found = self.objects.get(name)
        return None if found is None else found.modified_at


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What a complete list shows, from the oldest on; an incomplete one never becomes a Listing."""

    backups: tuple[Backup, ...]

    @property
    def finished(self) -> tuple[Backup, ...]:
        """Those that are backups."""
        return tuple(backup for backup in self.backups if backup.finished_at is not None)

    @property
    def newest_verified(self) -> Backup | None:
        """The newest one that was read back."""
        return next((backup for backup in reversed(self.finished) if backup.verified_at is not None), None)

    def find(self, wanted: str) -> Backup:
        """Return a finished backup: `latest`, an id, or the last one taken by a moment such as 2026-11-25T01:00Z.

        Raises InvalidRequestError.
        """
        finished = self.finished
        if wanted != "latest":
            by_id = [backup for backup in finished if backup.id == wanted]
            if by_id or is_id(wanted):
                finished = tuple(by_id)
            else:
                moment = _moment(wanted)
                finished = tuple(backup for backup in finished if backup.taken_at <= moment)
        if not finished:
            raise InvalidRequestError(f"there is no finished backup for {wanted!r}; list them to see which there are")
        return finished[-1]


def list_backups(store: Store) -> Listing:
    """Return the backups of a bucket. Raises TransientError, also when the list may be incomplete."""
    objects: dict[str, dict[str, StoredObject]] = {}
    for found in store.list(PREFIX):
        id, _, name = found.key.removeprefix(PREFIX).partition("/")
        if is_id(id) and is_ours(name):
            objects.setdefault(id, {})[name] = found
    return Listing(backups=tuple(Backup(id=id, objects=objects[id]) for id in sorted(objects)))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidRequestError(
            f"{text!r} is neither `latest`, nor a backup's id, nor a moment with its zone such as 2026-11-25T01:00Z"
        )
    return moment
