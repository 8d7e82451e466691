"""The AWS API for snapshots of an RDS instance or Aurora cluster, and for their exports to S3.

The state of a snapshot is in its name and tags, so neither the bucket nor the database is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.backup.archive.folder import is_id, parse_id
from chalicelib.core.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from types_boto3_rds import RDSClient
    from types_boto3_rds.type_defs import TagTypeDef


SNAPSHOT_PREFIX = "nightshift-"
# In the bucket.
EXPORT_PREFIX = "exports"
# Its value: `started`, `complete <moment>`, or `failed`.
EXPORT_TAG = "nightshift-export"
GIBIBYTE = 1 << 30

Kind = Literal["instance", "cluster"]

# Errors that only a person can fix.
PERMANENT = frozenset({"DBInstanceNotFound", "DBClusterNotFoundFault", "SnapshotQuotaExceeded"})
EXIST = frozenset({"DBSnapshotAlreadyExists", "DBClusterSnapshotAlreadyExistsFault", "ExportTaskAlreadyExists"})
MISSING = frozenset({"DBSnapshotNotFound", "DBClusterSnapshotNotFoundFault", "ExportTaskNotFound"})


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A snapshot; for retention, it is complete when it is available, and verified when its export is complete."""

    id: str
    arn: str
    status: str
    created_at: datetime
    bytes: int
    export: str | None
    drilled_at: datetime | None = None

    @property
    def name(self) -> str:
        """The name of the snapshot and of its export in AWS."""
        return name_of(self.id)

    @property
    def taken_at(self) -> datetime:
        """When its data was read."""
        return parse_id(self.id)

    @property
    def finished_at(self) -> datetime | None:
        """When it was created; None while it is being created, or if that failed."""
        return self.created_at if self.status == "available" else None

    @property
    def verified_at(self) -> datetime | None:
        """When its export, which reads all of it, completed."""
        word, _, moment = (self.export or "").partition(" ")
        return datetime.fromisoformat(moment) if word == "complete" else None

    @property
    def touched_at(self) -> datetime:
        """When it was started."""
        return self.created_at


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
        with _translate_errors(f"listing the snapshots of {self._database} failed"):
            for entry in self._entries():
                name = entry["DBClusterSnapshotIdentifier" if self._is_cluster else "DBSnapshotIdentifier"]
                if (id := id_of(name)) is None:
                    continue
                tags = {tag["Key"]: tag["Value"] for tag in entry.get("TagList", [])}
                found.append(
                    Snapshot(
                        id=id,
                        arn=entry["DBClusterSnapshotArn" if self._is_cluster else "DBSnapshotArn"],
                        status=entry["Status"],
                        # Missing until the snapshot is created.
                        created_at=entry.get("SnapshotCreateTime") or parse_id(id),
                        bytes=entry.get("AllocatedStorage", 0) * GIBIBYTE,
                        export=tags.get(EXPORT_TAG),
                    )
                )
        return tuple(sorted(found, key=lambda snapshot: snapshot.id))

    def delete(self, snapshot: Snapshot) -> None:
        """Delete a snapshot permanently, if it still exists."""
        with _translate_errors(f"deleting the snapshot {snapshot.name} failed", ignored=MISSING):
            if self._is_cluster:
                self._rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=snapshot.name)
            else:
                self._rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot.name)

    def export(self, snapshot: Snapshot, *, bucket: str, role_arn: str, key_arn: str) -> None:
        """Start a snapshot's export to `exports/<its name>/`; do nothing if it already exists."""
        with _translate_errors(f"starting the export of {snapshot.name} failed", ignored=EXIST):
            self._rds.start_export_task(
                ExportTaskIdentifier=snapshot.name,
                SourceArn=snapshot.arn,
                S3BucketName=bucket,
                S3Prefix=EXPORT_PREFIX,
                IamRoleArn=role_arn,
                KmsKeyId=key_arn,
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

    def _entries(self) -> Iterator[Mapping[str, Any]]:
        if self._is_cluster:
            of_clusters = self._rds.get_paginator("describe_db_cluster_snapshots")
            for clusters in of_clusters.paginate(DBClusterIdentifier=self._database, SnapshotType="manual"):
                yield from clusters["DBClusterSnapshots"]
        else:
            of_instances = self._rds.get_paginator("describe_db_snapshots")
            for instances in of_instances.paginate(DBInstanceIdentifier=self._database, SnapshotType="manual"):
                yield from instances["DBSnapshots"]


def name_of(id: str) -> str:
    """Return the name of a snapshot; RDS lower-cases names."""
    return f"{SNAPSHOT_PREFIX}{id.lower()}"


def id_of(name: str) -> str | None:
    """Return the id of the snapshot with this name, or None if Nightshift did not create it."""
    id = name.removeprefix(SNAPSHOT_PREFIX).replace("t", "T").replace("z", "Z")
    return id if name.startswith(SNAPSHOT_PREFIX) and is_id(id) else None


@contextmanager
def _translate_errors(failure: str, *, ignored: frozenset[str] = frozenset()) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ignored:
            return
        kind = PermanentError if code in PERMANENT else TransientError
        raise kind(f"{failure}: {error}") from error
    except BotoCoreError as error:
        raise TransientError(f"{failure}: {error}") from error
