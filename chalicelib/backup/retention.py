"""Retention: decide which backups to keep, with reasons, and remove the others and the leftovers of killed backups.

In a versioned bucket, deleting hides an object; its version can be recovered until the bucket's lifecycle rule removes
it, which waits for object locks. Pruning never deletes versions and needs no permission to, so its mistakes can be
undone. A locked backup is not even hidden, because its bytes would stay and be paid for: pruning reports it, and
removes it once the lock has ended.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from chalicelib.backup.archive.folder import MANIFEST, PREFIX, UNFINISHED, Backup, BackupInfo, key_of
from chalicelib.backup.archive.parts import delete_objects
from chalicelib.backup.settings import Policy
from chalicelib.core.store import NotFoundError, Store

B = TypeVar("B", bound=BackupInfo)


@dataclass(frozen=True, kw_only=True)
class RetentionDecision(Generic[B]):
    """Whether to keep a backup, and why."""

    backup: B
    keep: bool
    reasons: tuple[str, ...]


def decide(backups: Sequence[B], *, now: datetime, policy: Policy) -> list[RetentionDecision[B]]:
    """Return a decision on each backup, newest first. `backups` must be complete, as in a Listing.

    A backup is kept if any rule keeps it. Rules look back from the newest backup, not from now, and count only days
    that have a backup, so missing backups or a wrong clock never empty the bucket. Days are in UTC.
    """
    newest_first = sorted(backups, key=lambda backup: backup.id, reverse=True)
    reasons = _reasons([backup for backup in newest_first if backup.finished_at is not None], now=now, policy=policy)
    return [_decide(backup, reasons.get(backup.id, ()), now=now) for backup in newest_first]


def _decide(backup: B, reasons: tuple[str, ...], *, now: datetime) -> RetentionDecision[B]:
    if backup.finished_at is not None:
        return RetentionDecision(backup=backup, keep=bool(reasons), reasons=reasons or ("no rule keeps it",))
    if backup.touched_at + UNFINISHED < now:
        return RetentionDecision(backup=backup, keep=False, reasons=("unfinished, and untouched for two days",))
    return RetentionDecision(backup=backup, keep=True, reasons=("unfinished, and perhaps under way",))


def _reasons(newest_first: Sequence[BackupInfo], *, now: datetime, policy: Policy) -> dict[str, tuple[str, ...]]:
    reasons: dict[str, tuple[str, ...]] = {}

    def keep(backups: Sequence[BackupInfo], reason: str) -> None:
        for backup in backups:
            reasons[backup.id] = (*reasons.get(backup.id, ()), reason)

    keep(newest_first[:1], "the newest")
    verified = [backup for backup in newest_first if backup.verified_at is not None]
    keep(verified[:1], "the newest that is verified")
    if not verified:
        keep(newest_first, "none is verified")
    if newest_first:
        since = min(now, newest_first[0].taken_at) - timedelta(days=policy.all)
        keep([backup for backup in newest_first if backup.taken_at > since], f"of the last {policy.all} days")
    for count, word, form in (
        (policy.daily, "the day", "%Y-%m-%d"),
        (policy.weekly, "the week", "%G-W%V"),
        (policy.monthly, "the month", "%Y-%m"),
        (policy.yearly, "the year", "%Y"),
    ):
        for name, backup in _last_of_each(newest_first, form)[:count]:
            keep([backup], f"the last of {word} {name}")
    return reasons


def _last_of_each(newest_first: Sequence[BackupInfo], form: str) -> list[tuple[str, BackupInfo]]:
    last: dict[str, BackupInfo] = {}
    for backup in newest_first:
        name = f"{backup.taken_at:{form}}"
        known = last.setdefault(name, backup)
        # A verified backup represents its period rather than a later unverified one.
        if known.verified_at is None and backup.verified_at is not None:
            last[name] = backup
    return list(last.items())


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
