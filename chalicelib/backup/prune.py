"""Remove the backups that retention does not keep, and the leftovers of killed backups.

In a versioned bucket, deleting hides an object; its version can be recovered until the bucket's lifecycle rule removes
it, which waits for object locks. Pruning never deletes versions and needs no permission to, so its mistakes can be
undone. A locked backup is not even hidden, because its bytes would stay and be paid for: pruning reports it, and
removes it once the lock has ended.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from chalicelib.backup.archive.folder import MANIFEST, PREFIX, Backup, key_of
from chalicelib.backup.archive.parts import delete_objects
from chalicelib.backup.retention import UNFINISHED, B, RetentionDecision
from chalicelib.core.store import NotFoundError, Store


@dataclass(frozen=True, kw_only=True)
class PruneResult:
    """What pruning removed, and its size; `kept` has, by id, the reason why a backup could not be removed."""

    removed: tuple[str, ...]
    kept: dict[str, str]
    bytes: int
    aborted_uploads: int


def remove_each(decisions: Iterable[RetentionDecision[B]], remove: Callable[[B], str | None]) -> PruneResult:
    """Call `remove` for each backup that is not to be kept; it returns why it could not remove one, or None.

    A backup that cannot be removed does not stop the others. Raises what `remove` raises.
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
    return PruneResult(removed=tuple(removed), kept=kept, bytes=size, aborted_uploads=0)


def prune(store: Store, decisions: Iterable[RetentionDecision[Backup]], *, now: datetime, dry_run: bool) -> PruneResult:
    """Remove backups that are not to be kept, or with `dry_run` only return them.

    A kill at any moment leaves only complete backups and folders without a manifest, which the next pruning removes.
    Raises TransientError.
    """

    def remove(backup: Backup) -> str | None:
        lock = _lock_of(store, backup, now=now)
        if lock is not None:
            return f"locked {lock}"
        refused = {} if dry_run else delete_objects(store, backup.id, list(backup.objects))
        if not refused:
            return None
        return f"S3 refused to delete {len(refused)} of its objects: {next(iter(refused.values()))}"

    pruned = remove_each(decisions, remove)
    return replace(pruned, aborted_uploads=_abort_uploads(store, now=now, dry_run=dry_run))


def _lock_of(store: Store, backup: Backup, *, now: datetime) -> str | None:
    # The manifest was written last, so its lock ends last.
    if MANIFEST not in backup.objects:
        return None
    try:
        return store.lock_of(key_of(backup.id, MANIFEST), now=now)
    except NotFoundError:
        # Another pruning removes it.
        return None


def _abort_uploads(store: Store, *, now: datetime, dry_run: bool) -> int:
    aborted = 0
    for upload in store.unfinished_uploads(PREFIX):
        if upload.started_at + UNFINISHED < now:
            if not dry_run:
                store.abort(upload)
            aborted += 1
    return aborted
