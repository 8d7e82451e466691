"""Backups by RDS, for a database too large for one function: snapshots, and their exports to the bucket.

RDS takes hours, so each step is only started, and checked every few minutes; nothing waits. A snapshot is a backup once
it is available, and is restored as a new database. Its export is Parquet below `exports/`; a complete export proves
that the whole snapshot can be read. The state of a snapshot is in its name and tags, so neither the bucket nor the
database is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.backup.archive.folder import BackupInfo, is_id, new_id, parse_id
from chalicelib.backup.catalogue import Catalogue
from chalicelib.backup.retention import PruneResult, RetentionDecision, decide, remove_each
from chalicelib.backup.settings import BackupSettings
from chalicelib.core.clock import from_ms, iso
from chalicelib.core.config import StorageSettings
from chalicelib.core.context import Context
from chalicelib.core.deadline import time_limit
from chalicelib.core.errors import ConfigurationError, NightshiftError, PermanentError, TransientError
from chalicelib.core.store import Store
from chalicelib.core.telemetry import logger

if TYPE_CHECKING:
    from types_boto3_rds import RDSClient
    from types_boto3_rds.type_defs import TagTypeDef


SNAPSHOT_PREFIX = "nightshift-"
# In the bucket.
EXPORT_PREFIX = "exports"
# Its value: `started`, `complete <moment>`, or `failed`.
EXPORT_TAG = "nightshift-export"
GIBIBYTE = 1 << 30
# A client that retries could otherwise use up the watch's minute.
LONGEST_SECONDS = 20.0

# Errors that only a person can fix.
PERMANENT = frozenset({"DBInstanceNotFound", "DBClusterNotFoundFault", "SnapshotQuotaExceeded"})
EXIST = frozenset({"DBSnapshotAlreadyExists", "DBClusterSnapshotAlreadyExistsFault", "ExportTaskAlreadyExists"})
MISSING = frozenset({"DBSnapshotNotFound", "DBClusterSnapshotNotFoundFault", "ExportTaskNotFound"})

Kind = Literal["instance", "cluster"]


def name_of(id: str) -> str:
    """Return the name of a snapshot; RDS lower-cases names."""
    return f"{SNAPSHOT_PREFIX}{id.lower()}"


def id_of(name: str) -> str | None:
    """Return the id of the snapshot with this name, or None if Nightshift did not create it."""
    id = name.removeprefix(SNAPSHOT_PREFIX).replace("t", "T").replace("z", "Z")
    return id if name.startswith(SNAPSHOT_PREFIX) and is_id(id) else None


@dataclass(frozen=True, kw_only=True)
class Snapshot(BackupInfo):
    """A snapshot; for retention, it is complete when it is available, and verified when its export is complete."""

    arn: str
    status: str
    # The value of its tag.
    export: str | None

    @classmethod
    def of(cls, id: str, *, arn: str, status: str, created_at: datetime, bytes: int, export: str | None) -> Snapshot:
        """Return a snapshot as RDS describes it."""
        word, _, moment = (export or "").partition(" ")
        return cls(
            id=id,
            finished_at=created_at if status == "available" else None,
            verified_at=datetime.fromisoformat(moment) if word == "complete" else None,
            drilled_at=None,
            touched_at=created_at,
            bytes=bytes,
            arn=arn,
            status=status,
            export=export,
        )

    @property
    def name(self) -> str:
        """The name of the snapshot and of its export in AWS."""
        return name_of(self.id)


class SnapshotClient:
    """The snapshots of one instance or cluster. Raises PermanentError for what a person must fix, TransientError."""

    def __init__(self, rds: RDSClient, *, kind: Kind, database: str) -> None:
        self._rds = rds
        self._is_cluster = kind == "cluster"
        self._database = database

    def create(self, id: str) -> None:
        """Start a snapshot; do nothing if it already exists."""
        name = name_of(id)
        tags: list[TagTypeDef] = [{"Key": "app", "Value": "nightshift"}]
        with _translate_errors(f"creating a snapshot of {self._database} failed", ignored=EXIST):
            if self._is_cluster:
                self._rds.create_db_cluster_snapshot(
                    DBClusterSnapshotIdentifier=name, DBClusterIdentifier=self._database, Tags=tags
                )
            else:
                self._rds.create_db_snapshot(DBSnapshotIdentifier=name, DBInstanceIdentifier=self._database, Tags=tags)

    def list(self) -> tuple[Snapshot, ...]:
        """List the snapshots that Nightshift created, oldest first."""
        found = []
        prefix = "DBClusterSnapshot" if self._is_cluster else "DBSnapshot"
        with _translate_errors(f"listing the snapshots of {self._database} failed"):
            for entry in self._entries():
                if (id := id_of(entry[f"{prefix}Identifier"])) is None:
                    continue
                snapshot = Snapshot.of(
                    id,
                    arn=entry[f"{prefix}Arn"],
                    status=entry["Status"],
                    # Missing until the snapshot is created.
                    created_at=entry.get("SnapshotCreateTime") or parse_id(id),
                    bytes=entry.get("AllocatedStorage", 0) * GIBIBYTE,
                    export={tag["Key"]: tag["Value"] for tag in entry.get("TagList", [])}.get(EXPORT_TAG),
                )
                found.append(snapshot)
        return tuple(sorted(found, key=lambda snapshot: snapshot.id))

    def _entries(self) -> Iterator[Mapping[str, Any]]:
        if self._is_cluster:
            of_clusters = self._rds.get_paginator("describe_db_cluster_snapshots")
            for clusters in of_clusters.paginate(DBClusterIdentifier=self._database, SnapshotType="manual"):
                yield from clusters["DBClusterSnapshots"]
        else:
            of_instances = self._rds.get_paginator("describe_db_snapshots")
            for instances in of_instances.paginate(DBInstanceIdentifier=self._database, SnapshotType="manual"):
                yield from instances["DBSnapshots"]

    def delete(self, snapshot: Snapshot) -> None:
        """Delete a snapshot permanently, if it still exists."""
        with _translate_errors(f"deleting the snapshot {snapshot.name} failed", ignored=MISSING):
            if self._is_cluster:
                self._rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=snapshot.name)
            else:
                self._rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot.name)

    def export(self, snapshot: Snapshot, to: ExportDestination) -> None:
        """Start a snapshot's export to `exports/<its name>/`; do nothing if it already exists."""
        with _translate_errors(f"starting the export of {snapshot.name} failed", ignored=EXIST):
            self._rds.start_export_task(
                ExportTaskIdentifier=snapshot.name,
                SourceArn=snapshot.arn,
                S3BucketName=to.bucket,
                S3Prefix=EXPORT_PREFIX,
                IamRoleArn=to.role_arn,
                KmsKeyId=to.key_arn,
            )
        self.tag(snapshot, "started")

    def describe_export(self, snapshot: Snapshot) -> Mapping[str, Any]:
        """Return AWS's description of an export, empty if AWS no longer has it."""
        with _translate_errors(f"describing the export of {snapshot.name} failed", ignored=MISSING):
            tasks = self._rds.describe_export_tasks(ExportTaskIdentifier=snapshot.name)["ExportTasks"]
            return tasks[0] if tasks else {}
        return {}

    def tag(self, snapshot: Snapshot, export: str) -> None:
        """Record the state of a snapshot's export in a tag."""
        with _translate_errors(f"tagging the snapshot {snapshot.name} failed"):
            self._rds.add_tags_to_resource(ResourceName=snapshot.arn, Tags=[{"Key": EXPORT_TAG, "Value": export}])


@contextmanager
def _translate_errors(failure: str, *, ignored: frozenset[str] = frozenset()) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code not in ignored:
            raise (PermanentError if code in PERMANENT else TransientError)(f"{failure}: {error}") from error
    except BotoCoreError as error:
        raise TransientError(f"{failure}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class ExportDestination:
    """Where exports go: the bucket, the role that RDS assumes to write there, and the key that encrypts them."""

    bucket: str
    role_arn: str
    key_arn: str


Step = Literal["waiting", "exporting", "complete", "ended"]


@dataclass(frozen=True, kw_only=True)
class ExportProgress:
    """The step of each snapshot by its id, and the reasons of failures by id."""

    steps: Mapping[str, Step]
    failed: Mapping[str, str]


def export_snapshots(
    rds: SnapshotClient, snapshots: Sequence[Snapshot], *, to: ExportDestination, now: datetime
) -> ExportProgress:
    """Start the export of each snapshot that has become available, and record on each how its export ended.

    Call it repeatedly. A snapshot whose export has ended is `complete` or `failed` once, and `ended` from then on. A
    failure does not stop the others.
    """
    steps: dict[str, Step] = {}
    failed: dict[str, str] = {}
    for snapshot in snapshots:
        try:
            steps[snapshot.id] = _advance(rds, snapshot, to=to, now=now)
        except (PermanentError, TransientError) as error:
            failed[snapshot.id] = str(error)
    return ExportProgress(steps=steps, failed=failed)


def _advance(rds: SnapshotClient, snapshot: Snapshot, *, to: ExportDestination, now: datetime) -> Step:
    if snapshot.export is None:
        if snapshot.status == "failed":
            raise _failed(rds, snapshot, f"RDS failed to create the snapshot {snapshot.name}; see its events")
        if snapshot.status != "available":
            return "waiting"
        rds.export(snapshot, to)
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
        self._policy = settings.backup_keep
        self._rds = SnapshotClient(context.client("rds"), kind=cast(Kind, kind), database=database)
        self._to = ExportDestination(
            bucket=context.settings(StorageSettings).bucket,
            role_arn=settings.backup_export_role,
            key_arn=settings.backup_export_key,
        )
        self._catalogue = Catalogue(context.database, context.clock, kind="snapshot")

    def begin(self, *, run_id: str, attempt: int) -> str:
        """Start a snapshot and return its id; `advance` follows it up."""
        id = new_id(self._now, run_id=run_id, attempt=attempt)
        self._catalogue.begin(id, run_id=run_id)
        try:
            self._rds.create(id)
        except NightshiftError as error:
            self._catalogue.fail(id, error)
            raise
        return id

    def advance(self) -> ExportProgress:
        """Start the exports of available snapshots, record ended ones, and reconcile the catalogue."""
        progress = export_snapshots(self._rds, self._rds.list(), to=self._to, now=self._now)
        found = {snapshot.id: snapshot for snapshot in self._rds.list()}
        self._catalogue.reconcile(tuple(found.values()))
        for id, reason in progress.failed.items():
            is_made = id in found and found[id].finished_at is not None
            (self._catalogue.record_defect if is_made else self._catalogue.fail)(id, PermanentError(reason))
        return progress

    def prune(self, *, dry_run: bool) -> PruneResult:
        """Remove what BACKUP_KEEP does not keep."""
        decisions = decide(self._rds.list(), now=self._now, policy=self._policy)
        return remove_snapshots(self._rds, self._context.store, decisions, dry_run=dry_run)

    @property
    def _now(self) -> datetime:
        return from_ms(self._context.clock.now_ms())


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
