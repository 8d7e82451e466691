"""Pruning: what retention has decided is carried out, and what killed backups left behind is cleared up.

In a versioned bucket, deleting hides an object. Its version can be had back until the bucket's own rule removes it,
which no rule does before a lock on it ends. Pruning never deletes versions: it needs no permission to, and its mistakes
and those of whoever calls it can be undone for as long. A backup under a lock is not even hidden, since its bytes would
stay, and be paid for, where nobody sees them: it is reported, and goes with the first pruning after the lock.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from chalicelib.backup.archive.folder import MANIFEST, PREFIX, Backup, key_of
from chalicelib.backup.archive.parts import delete
from chalicelib.backup.retention import UNFINISHED, B, Decision
from chalicelib.core.store import NotFoundError, Store


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What pruning did; `kept` says by id why what should go is still there, `bytes` are those of what went."""

    removed: tuple[str, ...]
    kept: dict[str, str]
    bytes: int
    aborted_uploads: int


def remove_each(decisions: Iterable[Decision[B]], remove: Callable[[B], str | None]) -> Pruned:
    """Remove what is not to be kept; `remove` returns why a backup is still there, None where it went.

    One that stays does not stop the others. Raises what `remove` raises.
    """
    removed: list[str] = []
    kept: dict[str, str] = {}
    size = 0
    for backup in (decision.backup for decision in decisions if not decision.keep):
        if (reason := remove(backup)) is not None:
            kept[backup.id] = reason
            continue
        removed.append(backup.id)
        size += backup.bytes
    return Pruned(removed=tuple(removed), kept=kept, bytes=size, aborted_uploads=0)


def prune(store: Store, decisions: Iterable[Decision[Backup]], *, now: datetime, dry_run: bool) -> Pruned:
    """Remove what is not to be kept, or only say what would be removed.

    Killed at any moment, it leaves backups that are whole, and folders without a manifest that the next one clears up.
    A backup that S3 refuses to delete does not stop the others. Raises TransientError.
    """

    def remove(backup: Backup) -> str | None:
        lock = _lock_of(store, backup, now=now)
        if lock is not None:
            return f"locked {lock}"
        refused = {} if dry_run else delete(store, backup.id, list(backup.objects))
        return f"S3 does not delete {len(refused)} of its objects: {next(iter(refused.values()))}" if refused else None

    pruned = remove_each(decisions, remove)
    return replace(pruned, aborted_uploads=_abort_uploads(store, now=now, dry_run=dry_run))


def _lock_of(store: Store, backup: Backup, *, now: datetime) -> str | None:
    # The manifest is the last of its objects that was written, and so the last whose lock ends.
    if MANIFEST not in backup.objects:
        return None
    try:
        return store.lock_of(key_of(backup.id, MANIFEST), now=now)
    except NotFoundError:
        # Another pruning is at it.
        return None


def _abort_uploads(store: Store, *, now: datetime, dry_run: bool) -> int:
    aborted = 0
    for upload in store.unfinished_uploads(PREFIX):
        if upload.started_at + UNFINISHED < now:
            if not dry_run:
                store.abort(upload)
            aborted += 1
    return aborted
