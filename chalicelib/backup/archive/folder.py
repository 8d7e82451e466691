"""The folders of backups in the bucket, `backups/<id>/`: ids, names of objects, marks and the list."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from chalicelib.core.errors import InvalidRequestError, TransientError

if TYPE_CHECKING:
    from chalicelib.core.store import Store, StoredObject

PREFIX = "backups/"
MANIFEST = "manifest.json"
# Marks, written after a verification and after a drill. Their age is that of their objects.
VERIFIED, DRILLED = "verified.json", "drilled.json"

_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}", re.ASCII)
_PART = re.compile(r"\d{5,}\.(?:sql|sqlite)\.zst(?:\.enc)?", re.ASCII)
_MOMENT = "%Y%m%dT%H%M%SZ"


def new_id(taken_at: datetime, *, run_id: str, attempt: int) -> str:
    """Return the id of a backup taken at this moment by this attempt of the run: 20261125T010000Z-1a2b3c01."""
    return f"{taken_at.astimezone(UTC).strftime(_MOMENT)}-{run_id.replace('-', '')[:6]}{attempt % 256:02x}"


def parse_id(id: str) -> datetime:
    """Return when the backup with this id was taken. Raises InvalidRequestError for any other text."""
    if _ID.fullmatch(id):
        try:
            return datetime.strptime(id.partition("-")[0], _MOMENT).replace(tzinfo=UTC)
        except ValueError:
            pass
    raise InvalidRequestError(f"{id!r} is not the id of a backup; ids look like 20261125T010000Z-1a2b3c01")


def is_id(text: str) -> bool:
    """Return whether a text is a backup's id."""
    try:
        parse_id(text)
    except InvalidRequestError:
        return False
    return True


def is_part_name(name: str) -> bool:
    """Return whether a name is that of a part. Such a name cannot lead out of the backup's folder."""
    return _PART.fullmatch(name) is not None


def key_of(id: str, name: str) -> str:
    """Return an object's key."""
    return f"{PREFIX}{id}/{name}"


def mark(store: Store, id: str, name: str) -> None:
    """Write a mark. Raises TransientError."""
    store.put(key_of(id, name), b"{}\n", content_type="application/json")


def unmark(store: Store, id: str, name: str) -> None:
    """Remove a mark. Raises TransientError."""
    for reason in store.delete([key_of(id, name)]).values():
        raise TransientError(f"the mark {name} of backup {id} cannot be removed: {reason}")


# Longer than any backup takes. A younger unfinished one may still be running.
UNFINISHED = timedelta(days=2)


@dataclass(frozen=True, kw_only=True)
class BackupInfo:
    """What retention and the catalogue know about a dump or a snapshot; ids sort by `taken_at`."""

    id: str
    # None if it is unfinished.
    finished_at: datetime | None
    verified_at: datetime | None
    drilled_at: datetime | None
    # When it was last modified.
    touched_at: datetime
    # Its stored size.
    bytes: int

    @property
    def taken_at(self) -> datetime:
        """When its data was read."""
        return parse_id(self.id)


@dataclass(frozen=True, kw_only=True)
class Backup(BackupInfo):
    """A complete or unfinished dump, by the objects in its folder; complete since its manifest was written."""

    # By name; only objects that backups write.
    objects: Mapping[str, StoredObject]

    @classmethod
    def of(cls, id: str, objects: Mapping[str, StoredObject]) -> Backup:
        """Return the backup with this id and these objects."""
        moments = {name: found.modified_at for name, found in objects.items()}
        return cls(
            id=id,
            finished_at=moments.get(MANIFEST),
            verified_at=moments.get(VERIFIED),
            drilled_at=moments.get(DRILLED),
            touched_at=max(moments.values()),
            bytes=sum(found.size for found in objects.values()),
            objects=objects,
        )


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All backups of a bucket, oldest first. An incomplete list never becomes a Listing."""

    backups: tuple[Backup, ...]

    @property
    def finished(self) -> tuple[Backup, ...]:
        """The complete backups."""
        return tuple(backup for backup in self.backups if backup.finished_at is not None)

    @property
    def newest_verified(self) -> Backup | None:
        """The newest verified backup."""
        return next((backup for backup in reversed(self.finished) if backup.verified_at is not None), None)

    def find(self, wanted: str) -> Backup:
        """Return a complete backup: `latest`, by its id, or the last one taken by a time such as 2026-11-25T01:00Z.

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
            raise InvalidRequestError(f"there is no complete backup for {wanted!r}; run `nightshift backup list`")
        return finished[-1]


def list_backups(store: Store) -> Listing:
    """List the backups of a bucket. Raises TransientError, also if the list may be incomplete."""
    objects: dict[str, dict[str, StoredObject]] = {}
    for found in store.list(PREFIX):
        id, _, name = found.key.removeprefix(PREFIX).partition("/")
        if is_id(id) and (name in {MANIFEST, VERIFIED, DRILLED} or is_part_name(name)):
            objects.setdefault(id, {})[name] = found
    return Listing(backups=tuple(Backup.of(id, objects[id]) for id in sorted(objects)))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidRequestError(
            f"{text!r} is neither `latest`, nor the id of a backup, nor a time with its zone such as 2026-11-25T01:00Z"
        )
    return moment
