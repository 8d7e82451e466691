"""Backups by RDS, for a database too large for one function: snapshots, and their exports to the bucket.

RDS takes hours, so each step is only started, and checked every few minutes; nothing waits. A snapshot is a backup once
it is available, and is restored as a new database. Its export is Parquet below `exports/`; a complete export proves
that the whole snapshot can be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

from chalicelib.backup.archive.folder import new_id
from chalicelib.backup.catalogue import Catalogue
from chalicelib.backup.prune import PruneResult, remove_each
from chalicelib.backup.rds.client import EXPORT_PREFIX, Kind, Snapshot, SnapshotClient
from chalicelib.backup.retention import RetentionDecision, decide
from chalicelib.backup.settings import BackupSettings
from chalicelib.core.clock import from_ms, iso
from chalicelib.core.config import StorageSettings
from chalicelib.core.context import Context
from chalicelib.core.deadline import time_limit
from chalicelib.core.errors import ConfigurationError, NightshiftError, PermanentError, TransientError
from chalicelib.core.store import Store
from chalicelib.core.telemetry import logger

Step = Literal["waiting", "exporting", "complete", "ended"]


@dataclass(frozen=True, kw_only=True)
class ExportDestination:
    """Where exports go: the bucket, the role that RDS assumes to write there, and the key that encrypts them."""

    bucket: str
    role_arn: str
    key_arn: str


@dataclass(frozen=True, kw_only=True)
class ExportProgress:
    """The ids of snapshots by state, and the reasons of failures by id."""

    waiting: tuple[str, ...]
    exporting: tuple[str, ...]
    complete: tuple[str, ...]
    failed: dict[str, str]


def export_snapshots(
    rds: SnapshotClient, snapshots: Sequence[Snapshot], *, to: ExportDestination, now: datetime
) -> ExportProgress:
    """Start the export of each snapshot that has become available, and record on each how its export ended.

    Call it repeatedly. A snapshot whose export has ended is in `complete` or `failed` once. A failure does not stop the
    others.
    """
    steps: dict[str, Step] = {}
    failed: dict[str, str] = {}
    for snapshot in snapshots:
        try:
            steps[snapshot.id] = _advance(rds, snapshot, to=to, now=now)
        except (PermanentError, TransientError) as error:
            failed[snapshot.id] = str(error)

    def in_step(wanted: Step) -> tuple[str, ...]:
        return tuple(id for id, step in steps.items() if step == wanted)

    return ExportProgress(
        waiting=in_step("waiting"), exporting=in_step("exporting"), complete=in_step("complete"), failed=failed
    )


def _advance(rds: SnapshotClient, snapshot: Snapshot, *, to: ExportDestination, now: datetime) -> Step:
    if snapshot.status != "available" and snapshot.export is None:
        if snapshot.status != "failed":
            return "waiting"
        raise _failed(rds, snapshot, f"RDS failed to create the snapshot {snapshot.name}; see its events")
    if snapshot.export is None:
        rds.export(snapshot, bucket=to.bucket, role_arn=to.role_arn, key_arn=to.key_arn)
        return "exporting"
    if snapshot.export != "started":
        return "ended"
    task = rds.describe_export(snapshot)
    status = task.get("Status", "forgotten by AWS").upper()
    if status in {"STARTING", "IN_PROGRESS"}:
        return "exporting"
    if status != "COMPLETE":
        reason = task.get("FailureCause") or status
        raise _failed(rds, snapshot, f"the export of {snapshot.name} failed: {reason}; the snapshot itself exists")
    rds.tag(snapshot, f"complete {iso(task.get('TaskEndTime') or now)}")
    return "complete"


def _failed(rds: SnapshotClient, snapshot: Snapshot, sentence: str) -> PermanentError:
    # Otherwise each call would report it again.
    rds.tag(snapshot, "failed")
    return PermanentError(sentence)


def remove_snapshots(
    rds: SnapshotClient, store: Store, decisions: Iterable[RetentionDecision[Snapshot]], *, dry_run: bool
) -> PruneResult:
    """Delete the snapshots that are not to be kept, and their exports; with `dry_run`, only return them.

    After a kill at any moment, the next call continues. Unlike an object's version, a deleted snapshot cannot be
    recovered. Raises TransientError if the bucket fails.
    """

    def delete(snapshot: Snapshot) -> str | None:
        if dry_run:
            return None
        try:
            # The export first: without its snapshot it would never be found again.
            exported = [found.key for found in store.list(f"{EXPORT_PREFIX}/{snapshot.name}/")]
            if refused := store.delete(exported):
                return f"S3 refused to delete its export: {next(iter(refused.values()))}"
            rds.delete(snapshot)
        except (PermanentError, TransientError) as error:
            return str(error)
        return None

    return remove_each(decisions, delete)


# A client that retries could otherwise use up the watch's minute.
LONGEST_SECONDS = 20.0


def advance_snapshots(context: Context) -> None:
    """Advance the snapshots that are not verified yet; without any, do not call RDS.

    The result is in the catalogue, the log and the age of the newest verified backup.
    Raises ConfigurationError, PermanentError, TransientError, DBAPIError.
    """
    if not Catalogue(context.database, context.clock, kind="snapshot").has_unverified():
        return
    with time_limit(LONGEST_SECONDS):
        progress = Snapshots(context).advance()
    for id, reason in progress.failed.items():
        logger.error("snapshot not verified", extra={"snapshot": id, "error": reason})


class Snapshots:
    """The snapshots of a deployment. Raises ConfigurationError without the settings, PermanentError, TransientError."""

    def __init__(self, context: Context) -> None:
        settings = context.settings(BackupSettings)
        if not (settings.backup_rds and settings.backup_export_role and settings.backup_export_key):
            raise ConfigurationError(
                "for snapshots by RDS, set BACKUP_RDS, BACKUP_EXPORT_ROLE and BACKUP_EXPORT_KEY (docs/settings.md)"
            )
        kind, _, database = settings.backup_rds.partition(":")
        self._context = context
        self._rds = SnapshotClient(context.client("rds"), kind=cast(Kind, kind), database=database)
        self._to = ExportDestination(
            bucket=context.settings(StorageSettings).bucket,
            role_arn=settings.backup_export_role,
            key_arn=settings.backup_export_key,
        )
        self._catalogue = Catalogue(context.database, context.clock, kind="snapshot")

    def begin(self, *, run_id: str, attempt: int) -> str:
        """Start a snapshot and return its id; `advance` follows it up."""
        id = new_id(from_ms(self._context.clock.now_ms()), run_id=run_id, attempt=attempt)
        self._catalogue.begin(id, run_id=run_id)
        try:
            self._rds.create(id)
        except NightshiftError as error:
            self._catalogue.fail(id, error)
            raise
        return id

    def advance(self) -> ExportProgress:
        """Start the exports of available snapshots, record ended ones, and reconcile the catalogue."""
        now = from_ms(self._context.clock.now_ms())
        progress = export_snapshots(self._rds, self._rds.list(), to=self._to, now=now)
        found = {snapshot.id: snapshot for snapshot in self._rds.list()}
        self._catalogue.reconcile(tuple(found.values()))
        for id, reason in progress.failed.items():
            is_made = id in found and found[id].finished_at is not None
            (self._catalogue.record_defect if is_made else self._catalogue.fail)(id, PermanentError(reason))
        return progress

    def prune(self, *, dry_run: bool) -> PruneResult:
        """Remove what BACKUP_KEEP does not keep."""
        now = from_ms(self._context.clock.now_ms())
        decisions = decide(self._rds.list(), now=now, policy=self._context.settings(BackupSettings).backup_keep)
        return remove_snapshots(self._rds, self._context.store, decisions, dry_run=dry_run)
