"""The backups of a bucket, from the list of its objects alone: no database, no manifest is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from chalicelib.backup.folder import DRILLED, MANIFEST, PREFIX, VERIFIED, is_id, is_ours, moment_of
from chalicelib.core.errors import InvalidRequestError
from chalicelib.core.store import Store, StoredObject


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
