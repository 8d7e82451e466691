"""The catalogue: a row for each backup, for people, reports and the estimate of the next one.

The bucket (or RDS, for snapshots) is the truth, and the catalogue is reconciled with it: a restore replaces the
catalogue by an older one, and a killed process leaves a row that says `running`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Row, case, func, insert, select, update

from chalicelib.backup.archive.folder import UNFINISHED, BackupInfo, parse_id
from chalicelib.backup.archive.manifest import Manifest
from chalicelib.core.clock import Clock, to_ms
from chalicelib.core.database import Database
from chalicelib.core.telemetry import age
from chalicelib.schema import backups

Kind = Literal["dump", "snapshot"]

MAX_ERROR = 10_000
# How many recent backups the estimate of the next one is based on.
RECENT = 5
# The duration of a smaller backup is mostly connections and requests, and says nothing about the rate.
MIN_RATED_BYTES = 16 << 20
# A backup that finished during the listing is not in it.
SETTLED_MS = 3_600_000
# How far S3's clock and ours may differ.
SAME_MS = 60_000
KILLED = "it was never finished; the process was killed"


class Catalogue:
    """The rows of one kind of backup. Raises DBAPIError."""

    def __init__(self, database: Database, clock: Clock, *, kind: Kind) -> None:
        self._database = database
        self._clock = clock
        self._kind = kind

    def begin(self, id: str, *, run_id: str | None) -> None:
        """Record that a backup has started."""
        moments = {"taken_at": to_ms(parse_id(id)), "started_at": self._clock.now_ms()}
        new = insert(backups).values(id=id, kind=self._kind, run_id=run_id, status="running", **moments)
        self._database.autocommit(lambda connection: connection.execute(new))

    def finish(self, id: str, manifest: Manifest) -> None:
        """Record that a backup is complete, and its size."""
        self._set(
            id,
            status="finished",
            finished_at=self._clock.now_ms(),
            table_count=len(manifest.tables),
            row_count=manifest.rows,
            plain_bytes=manifest.plain_bytes,
            stored_bytes=manifest.stored_bytes,
        )

    def fail(self, id: str, error: Exception) -> None:
        """Record why a backup failed."""
        self._set(id, status="failed", error=str(error)[:MAX_ERROR])

    def record_check(self, id: str, *, since: Literal["verified_at", "drilled_at"]) -> None:
        """Record that a backup was verified or drilled."""
        self._set(id, error=None, **{since: self._clock.now_ms()})

    def record_defect(self, id: str, error: Exception) -> None:
        """Record why a backup is unusable."""
        self._set(id, error=str(error)[:MAX_ERROR], verified_at=None)

    def has_unverified(self) -> bool:
        """Return whether a backup is running or not yet verified."""
        is_open = backups.c.status.in_(("running", "finished")) & backups.c.verified_at.is_(None)
        query = select(backups.c.id).where(backups.c.kind == self._kind, is_open).limit(1)
        return self._database.autocommit(lambda connection: connection.execute(query).first()) is not None

    def reconcile(self, found: Sequence[BackupInfo]) -> int:
        """Update the rows from a complete list, and return how many changed."""
        return self._database.transact(lambda connection: self._mend(connection, {b.id: b for b in found}))

    def rate(self) -> float | None:
        """Return the bytes dumped per second by the slowest recent backup of at least 16 MiB, or None if there is none.

        The time of its verification does not count.
        """
        duration = backups.c.finished_at - backups.c.started_at
        recent = (
            select(backups.c.plain_bytes, duration)
            .where(backups.c.kind == self._kind, backups.c.plain_bytes >= MIN_RATED_BYTES, duration > 0)
            .order_by(backups.c.taken_at.desc())
            .limit(RECENT)
        )
        rows = self._database.autocommit(lambda connection: connection.execute(recent).all())
        return min((1000 * size / milliseconds for size, milliseconds in rows), default=None)

    def _set(self, id: str, **values: Any) -> None:
        statement = update(backups).where(backups.c.id == id).values(values)
        self._database.autocommit(lambda connection: connection.execute(statement))

    def _mend(self, connection: Connection, found: Mapping[str, BackupInfo]) -> int:
        rows = {row.id: row for row in connection.execute(select(backups).where(backups.c.kind == self._kind))}
        missing = [backup for id, backup in found.items() if id not in rows and backup.finished_at is not None]
        for backup in missing:
            values = {"kind": self._kind, "taken_at": to_ms(backup.taken_at), "stored_bytes": backup.bytes}
            connection.execute(insert(backups).values(id=backup.id, **values, **_finished(backup)))
        changes = {id: self._change(row, found.get(id)) for id, row in rows.items()}
        for id, values in changes.items():
            if values:
                connection.execute(update(backups).where(backups.c.id == id).values(values))
        return len(missing) + sum(map(bool, changes.values()))

    def _change(self, row: Row[Any], backup: BackupInfo | None) -> dict[str, Any]:
        now_ms = self._clock.now_ms()
        if backup is not None and backup.finished_at is not None:
            said = _finished(backup)
            if row.status != "finished":
                return {"error": None, "removed_at": None, **said}
            marks = {
                name: said[name] for name in ("verified_at", "drilled_at") if _differ(row._mapping[name], said[name])
            }
            # It is verified now, so an earlier error no longer applies.
            return marks | {"error": None} if marks.get("verified_at") else marks
        if row.status == "finished" and row.finished_at < now_ms - SETTLED_MS:
            return {"status": "removed", "removed_at": now_ms}
        if row.status == "running" and row.started_at < now_ms - 1000 * UNFINISHED.total_seconds():
            return {"status": "failed", "error": KILLED}
        return {}


def _finished(backup: BackupInfo) -> dict[str, Any]:
    moments = {
        "finished_at": backup.finished_at,
        "verified_at": backup.verified_at,
        "drilled_at": backup.drilled_at,
    }
    return {"status": "finished", **{name: moment and to_ms(moment) for name, moment in moments.items()}}


def _differ(known: int | None, said: int | None) -> bool:
    if known is None or said is None:
        return known is not said
    return abs(known - said) > SAME_MS


HOUR_MS = 3_600_000
# The kind of the newest backup, complete or running.
NEWEST_KIND = select(backups.c.kind).where(backups.c.status != "failed").order_by(backups.c.taken_at.desc()).limit(1)


def relies_on_snapshots(database: Database) -> bool:
    """Return whether RDS takes the backups, because a dump would take too long. Raises DBAPIError."""
    return database.autocommit(lambda connection: connection.execute(NEWEST_KIND).scalar()) == "snapshot"


def emit_ages(database: Database, clock: Clock) -> None:
    """Emit the age of the newest verified backup, and the time since the last drill, as metrics.

    Before the first drill, its age counts from the first backup. Snapshots by RDS are not drilled. Raises DBAPIError.
    """
    is_verified = (backups.c.status == "finished") & backups.c.verified_at.is_not(None)
    verified_at = func.max(case((is_verified, backups.c.taken_at)))
    drilled_at = func.coalesce(func.max(backups.c.drilled_at), func.min(backups.c.finished_at))
    newest = select(verified_at, drilled_at, NEWEST_KIND.scalar_subquery())
    verified_ms, drilled_ms, kind = database.autocommit(lambda connection: connection.execute(newest).one())
    now_ms = clock.now_ms()
    ages = {"backup_verified_age": verified_ms, "backup_drilled_age": None if kind == "snapshot" else drilled_ms}
    for metric, since_ms in ages.items():
        if since_ms is not None:
            age(metric, (now_ms - since_ms) / HOUR_MS, task="database_backup")
