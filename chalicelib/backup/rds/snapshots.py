"""The snapshots that RDS makes where a dump would take too long, as a deployment's settings say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

from chalicelib.backup.archive.folder import new_id
from chalicelib.backup.catalogue import Catalogue
from chalicelib.backup.prune import Pruned, remove_each
from chalicelib.backup.rds.client import EXPORT_PREFIX, Kind, Rds, Snapshot
from chalicelib.backup.retention import Decision, decide
from chalicelib.backup.settings import BackupSettings
from chalicelib.core.clock import from_ms, iso
from chalicelib.core.config import StorageSettings
from chalicelib.core.context import Context
from chalicelib.core.deadline import time_limit
from chalicelib.core.errors import ConfigurationError, NightshiftError, PermanentError, TransientError
from chalicelib.core.store import Store
from chalicelib.core.telemetry import logger

Step = Literal["waiting", "exporting", "complete", "settled"]


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where exports go: the bucket, the role in which RDS writes there, and the key that it encrypts them with."""

    bucket: str
    role_arn: str
    key_arn: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What was noticed: ids of snapshots by how they stand, and by id why one failed."""

    waiting: tuple[str, ...]
    exporting: tuple[str, ...]
    complete: tuple[str, ...]
    failed: dict[str, str]


def advance(rds: Rds, snapshots: Sequence[Snapshot], *, to: Destination, now: datetime) -> Progress:
    """Begin the export of each snapshot that has become available, and note on each how its export ended.

    To be called again and again. Snapshots whose export is over are in `complete` or `failed` once; a failure stops no
    other.
    """
    steps: dict[str, Step] = {}
    failed: dict[str, str] = {}
    for snapshot in snapshots:
        try:
            steps[snapshot.id] = _advance(rds, snapshot, to=to, now=now)
        except (PermanentError, TransientError) as error:
            failed[snapshot.id] = str(error)

    def those(wanted: Step) -> tuple[str, ...]:
        return tuple(id for id, step in steps.items() if step == wanted)

    return Progress(waiting=those("waiting"), exporting=those("exporting"), complete=those("complete"), failed=failed)


def _advance(rds: Rds, snapshot: Snapshot, *, to: Destination, now: datetime) -> Step:
    if snapshot.status != "available" and snapshot.export is None:
        if snapshot.status != "failed":
            return "waiting"
        raise _failed(rds, snapshot, f"RDS could not make the snapshot {snapshot.name}; its events say why")
    if snapshot.export is None:
        rds.export(snapshot, bucket=to.bucket, role_arn=to.role_arn, key_arn=to.key_arn)
        return "exporting"
    if snapshot.export != "started":
        return "settled"
    task = rds.describe_export(snapshot)
    status = task.get("Status", "forgotten by AWS").upper()
    if status in {"STARTING", "IN_PROGRESS"}:
        return "exporting"
    if status != "COMPLETE":
        reason = task.get("FailureCause") or status
        raise _failed(rds, snapshot, f"the export of {snapshot.name} failed: {reason}; the snapshot itself is there")
    rds.tag(snapshot, f"complete {iso(task.get('TaskEndTime') or now)}")
    return "complete"


def _failed(rds: Rds, snapshot: Snapshot, sentence: str) -> PermanentError:
    # Or it would be told each time.
    rds.tag(snapshot, "failed")
    return PermanentError(sentence)


def remove(rds: Rds, store: Store, decisions: Iterable[Decision[Snapshot]], *, dry_run: bool) -> Pruned:
    """Delete the snapshots that are not to be kept, and their exports, or only say which those are.

    Killed at any moment, it leaves snapshots that can be restored, and finds again what is left to do. Unlike an
    object, a snapshot cannot be had back. Raises TransientError where the bucket fails.
    """

    def delete(snapshot: Snapshot) -> str | None:
        if dry_run:
            return None
        try:
            # First: without its snapshot nobody would look for it.
            exported = [found.key for found in store.list(f"{EXPORT_PREFIX}/{snapshot.name}/")]
            if refused := store.delete(exported):
                return f"S3 does not delete its export: {next(iter(refused.values()))}"
            rds.delete(snapshot)
        except (PermanentError, TransientError) as error:
            return str(error)
        return None

    return remove_each(decisions, delete)


# Of the watch's minute, which a client that waits for an answer and asks again could spend whole.
LONGEST_SECONDS = 20.0


def look_after(context: Context) -> None:
    """Go on with the snapshots that are not read back yet, and where there are none, ask RDS nothing.

    What becomes of one of them is told by its row, the log and the age of the newest that was read back.
    Raises ConfigurationError, PermanentError, TransientError, DBAPIError.
    """
    if not Catalogue(context.database, context.clock, kind="snapshot").is_any_open():
        return
    with time_limit(LONGEST_SECONDS):
        progress = Snapshots(context).advance()
    for id, reason in progress.failed.items():
        logger.error("snapshot not read back", extra={"snapshot": id, "error": reason})


class Snapshots:
    """All of them. Raises ConfigurationError without the settings, PermanentError, TransientError."""

    def __init__(self, context: Context) -> None:
        settings = context.settings(BackupSettings)
        if not (settings.backup_rds and settings.backup_export_role and settings.backup_export_key):
            raise ConfigurationError(
                "for snapshots by RDS, set BACKUP_RDS, BACKUP_EXPORT_ROLE and BACKUP_EXPORT_KEY (docs/settings.md)"
            )
        kind, _, database = settings.backup_rds.partition(":")
        self._context = context
        self._rds = Rds(context.client("rds"), kind=cast(Kind, kind), database=database)
        self._to = Destination(
            bucket=context.settings(StorageSettings).bucket,
            role_arn=settings.backup_export_role,
            key_arn=settings.backup_export_key,
        )
        self._catalogue = Catalogue(context.database, context.clock, kind="snapshot")

    def begin(self, *, run_id: str, attempt: int) -> str:
        """Have RDS begin a snapshot, and return its id; `advance` notices what becomes of it."""
        id = new_id(from_ms(self._context.clock.now_ms()), run_id=run_id, attempt=attempt)
        self._catalogue.begin(id, run_id=run_id)
        try:
            self._rds.create(id)
        except NightshiftError as error:
            self._catalogue.fail(id, error)
            raise
        return id

    def advance(self) -> Progress:
        """Begin the exports of snapshots that are there, notice those that are over, and mend the catalogue."""
        now = from_ms(self._context.clock.now_ms())
        progress = advance(self._rds, self._rds.list(), to=self._to, now=now)
        found = {snapshot.id: snapshot for snapshot in self._rds.list()}
        self._catalogue.mend(tuple(found.values()))
        for id, reason in progress.failed.items():
            is_made = id in found and found[id].finished_at is not None
            (self._catalogue.distrust if is_made else self._catalogue.fail)(id, PermanentError(reason))
        return progress

    def prune(self, *, dry_run: bool) -> Pruned:
        """Remove what BACKUP_KEEP does not keep."""
        now = from_ms(self._context.clock.now_ms())
        decisions = decide(self._rds.list(), now=now, policy=self._context.settings(BackupSettings).backup_keep)
        return remove(self._rds, self._context.store, decisions, dry_run=dry_run)
