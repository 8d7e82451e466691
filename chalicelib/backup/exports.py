"""The other road, for a database too big for one Lambda: RDS makes snapshots and exports them to the bucket.

What takes hours there is begun and looked at again every few minutes; nothing waits. A snapshot is a backup as soon as
it is available, and is restored as a database of its own. Its export is Parquet below `exports/`; that it came to its
end is the proof that all of the snapshot can be read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from chalicelib.backup.prune import Pruned, remove_each
from chalicelib.backup.rds import Rds, Snapshot
from chalicelib.backup.retention import Decision
from chalicelib.core.clock import iso
from chalicelib.core.errors import PermanentError, TransientError
from chalicelib.core.store import Store

PREFIX = "exports"

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
        rds.export(snapshot, bucket=to.bucket, prefix=PREFIX, role_arn=to.role_arn, key_arn=to.key_arn)
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
            exported = [found.key for found in store.list(f"{PREFIX}/{snapshot.name}/")]
            if refused := store.delete(exported):
                return f"S3 does not delete its export: {next(iter(refused.values()))}"
            rds.delete(snapshot)
        except (PermanentError, TransientError) as error:
            return str(error)
        return None

    return remove_each(decisions, delete)
