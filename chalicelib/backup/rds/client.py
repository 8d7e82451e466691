"""Snapshots of an RDS instance or an Aurora cluster, and their exports to S3, as AWS has them.

All that we know of a snapshot is on it, in its name and its tags: the bucket and the database are not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.backup.archive.folder import is_id, moment_of
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

# What only a person can mend.
PERMANENT = frozenset({"DBInstanceNotFound", "DBClusterNotFoundFault", "SnapshotQuotaExceeded"})
EXIST = frozenset({"DBSnapshotAlreadyExists", "DBClusterSnapshotAlreadyExistsFault", "ExportTaskAlreadyExists"})
MISSING = frozenset({"DBSnapshotNotFound", "DBClusterSnapshotNotFoundFault", "ExportTaskNotFound"})


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A snapshot; for retention, it is a backup when it is available, and read whole when its export is complete."""

    id: str
    arn: str
    status: str
    created_at: datetime
    bytes: int
    export: str | None
    drilled_at: datetime | None = None

    @property
    def name(self) -> str:
        """What it and its export are called in AWS."""
        return name_of(self.id)

    @property
    def taken_at(self) -> datetime:
        """The moment that it holds."""
        return moment_of(self.id)

    @property
    def finished_at(self) -> datetime | None:
        """When it was made, None while it is being made or when it failed."""
        return self.created_at if self.status == "available" else None

    @property
    def verified_at(self) -> datetime | None:
        """When its export, which reads all of it, was complete."""
        word, _, moment = (self.export or "").partition(" ")
        return datetime.fromisoformat(moment) if word == "complete" else None

    @property
    def touched_at(self) -> datetime:
        """When it was begun."""
        return self.created_at


class Rds:
    """The snapshots of one instance or cluster. Raises PermanentError for what a person must mend, TransientError."""

    def __init__(self, rds: RDSClient, *, kind: Kind, database: str) -> None:
        self._rds = rds
        self._is_cluster = kind == "cluster"
        self._database = database

    def create(self, id: str) -> None:
        """Begin a snapshot; one that is already begun is left to go on."""
        name = name_of(id)
        tags: list[TagTypeDef] = [{"Key": "app", "Value": "nightshift"}]
        with _asking(f"no snapshot of {self._database} can be made", ignored=EXIST):
            if self._is_cluster:
                self._rds.create_db_cluster_snapshot(
                    DBClusterSnapshotIdentifier=name, DBClusterIdentifier=self._database, Tags=tags
                )
            else:
                self._rds.create_db_snapshot(DBSnapshotIdentifier=name, DBInstanceIdentifier=self._database, Tags=tags)

    def list(self) -> tuple[Snapshot, ...]:
        """Return all snapshots that were made here, from the oldest on."""
        found = []
        with _asking(f"the snapshots of {self._database} cannot be listed"):
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
                        # There is none before it is made.
                        created_at=entry.get("SnapshotCreateTime") or moment_of(id),
                        bytes=entry.get("AllocatedStorage", 0) * GIBIBYTE,
                        export=tags.get(EXPORT_TAG),
                    )
                )
        return tuple(sorted(found, key=lambda snapshot: snapshot.id))

    def delete(self, snapshot: Snapshot) -> None:
        """Delete a snapshot for good, if it is still there."""
        with _asking(f"the snapshot {snapshot.name} cannot be deleted", ignored=MISSING):
            if self._is_cluster:
                self._rds.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=snapshot.name)
            else:
                self._rds.delete_db_snapshot(DBSnapshotIdentifier=snapshot.name)

    def export(self, snapshot: Snapshot, *, bucket: str, role_arn: str, key_arn: str) -> None:
        """Begin a snapshot's export to `exports/<its name>/`; one that is already begun is left to go on."""
        with _asking(f"the export of {snapshot.name} cannot be begun", ignored=EXIST):
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
        """Return what AWS says of an export, nothing where it has forgotten it."""
        with _asking(f"the export of {snapshot.name} cannot be looked at", ignored=MISSING):
            tasks = self._rds.describe_export_tasks(ExportTaskIdentifier=snapshot.name)["ExportTasks"]
            return tasks[0] if tasks else {}
        return {}

    def tag(self, snapshot: Snapshot, export: str) -> None:
        """Write down on a snapshot how its export stands."""
        with _asking(f"the snapshot {snapshot.name} cannot be tagged"):
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
    """Return the name of a snapshot; RDS makes all letters small."""
    return f"{SNAPSHOT_PREFIX}{id.lower()}"


def id_of(name: str) -> str | None:
    """Return the id of the snapshot with this name, None for one that was not made here."""
    id = name.removeprefix(SNAPSHOT_PREFIX).replace("t", "T").replace("z", "Z")
    return id if name.startswith(SNAPSHOT_PREFIX) and is_id(id) else None


@contextmanager
def _asking(failure: str, *, ignored: frozenset[str] = frozenset()) -> Iterator[None]:
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
