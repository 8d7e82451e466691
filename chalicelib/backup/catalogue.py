"""The catalogue: a row for each backup, for people, reports and the estimate of the next one.

It is a convenience. What is there only the bucket says (or RDS, of snapshots), and from there the catalogue is mended:
after a restore it is that of an earlier time, and a killed process leaves a row that says `running`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Row, case, func, insert, select, update

from chalicelib.backup.archive.folder import moment_of
from chalicelib.backup.archive.manifest import Manifest
from chalicelib.backup.retention import UNFINISHED, Kept
from chalicelib.core.clock import Clock, to_ms
from chalicelib.core.database import Database
from chalicelib.core.telemetry import age
from chalicelib.schema import backups

Kind = Literal["dump", "snapshot"]

MAX_ERROR = 10_000
# Backups that the estimate of the next one looks back on.
RECENT = 5
# Of a smaller backup, connections and requests took the time, and not its bytes: it says nothing about the rate.
LEAST_OCTETS = 16 << 20
# What was finished while a list was being made is not on it.
SETTLED_MS = 3_600_000
# How far S3's clock and ours may differ.
SAME_MS = 60_000
KILLED = "it was begun and left unfinished; the process was killed"


class Catalogue:
    """The rows of one kind of backup. Raises DBAPIError."""

    def __init__(self, database: Database, clock: Clock, *, kind: Kind) -> None:
        self._database = database
        self._clock = clock
        self._kind = kind

    def begin(self, id: str, *, run_id: str | None) -> None:
        """Record that a backup is being made."""
        moments = {"taken_at": to_ms(moment_of(id)), "started_at": self._clock.now_ms()}
        new = insert(backups).values(id=id, kind=self._kind, run_id=run_id, status="running", **moments)
        self._database.autocommit(lambda connection: connection.execute(new))

    def finish(self, id: str, manifest: Manifest) -> None:
        """Record what a backup holds."""
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
        """Record why a backup was not made."""
        self._set(id, status="failed", error=str(error)[:MAX_ERROR])

    def trust(self, id: str, *, since: Literal["verified_at", "drilled_at"]) -> None:
        """Record that a backup was read back, or restored on trial."""
        self._set(id, error=None, **{since: self._clock.now_ms()})

    def distrust(self, id: str, error: Exception) -> None:
        """Record why a backup is not to be relied on."""
        self._set(id, error=str(error)[:MAX_ERROR], verified_at=None)

    def is_any_open(self) -> bool:
        """Return whether a backup is being made, or was not read back."""
        is_open = backups.c.status.in_(("running", "finished")) & backups.c.verified_at.is_(None)
        query = select(backups.c.id).where(backups.c.kind == self._kind, is_open).limit(1)
        return self._database.autocommit(lambda connection: connection.execute(query).first()) is not None

    def mend(self, found: Sequence[Kept]) -> int:
        """Make the rows say what a complete list says, and return how many said something else."""
        return self._database.transact(lambda connection: self._mend(connection, {b.id: b for b in found}))

    def rate(self) -> float | None:
        """Return the bytes of dump a second of the slowest recent backup, without its verification; None of none.

        Backups of less than 16 MiB do not count.
        """
        duration = backups.c.finished_at - backups.c.started_at
        recent = (
            select(backups.c.plain_bytes, duration)
            .where(backups.c.kind == self._kind, backups.c.plain_bytes >= LEAST_OCTETS, duration > 0)
            .order_by(backups.c.taken_at.desc())
            .limit(RECENT)
        )
        rows = self._database.autocommit(lambda connection: connection.execute(recent).all())
        return min((1000 * size / milliseconds for size, milliseconds in rows), default=None)

    def _set(self, id: str, **values: Any) -> None:
        statement = update(backups).where(backups.c.id == id).values(values)
        self._database.autocommit(lambda connection: connection.execute(statement))

    def _mend(self, connection: Connection, found: Mapping[str, Kept]) -> int:
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

    def _change(self, row: Row[Any], backup: Kept | None) -> dict[str, Any]:
        now_ms = self._clock.now_ms()
        if backup is not None and backup.finished_at is not None:
            said = _finished(backup)
            if row.status != "finished":
                return {"error": None, "removed_at": None, **said}
            marks = {
                name: said[name] for name in ("verified_at", "drilled_at") if _differ(row._mapping[name], said[name])
            }
            # What kept it from being read back is over.
            return marks | {"error": None} if marks.get("verified_at") else marks
        if row.status == "finished" and row.finished_at < now_ms - SETTLED_MS:
            return {"status": "removed", "removed_at": now_ms}
        if row.status == "running" and row.started_at < now_ms - 1000 * UNFINISHED.total_seconds():
            return {"status": "failed", "error": KILLED}
        return {}


def _finished(backup: Kept) -> dict[str, Any]:
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
# How the newest backup was made, or is being made, which is what a deployment relies on.
NEWEST_KIND = select(backups.c.kind).where(backups.c.status != "failed").order_by(backups.c.taken_at.desc()).limit(1)


def relies_on_snapshots(database: Database) -> bool:
    """Return whether RDS makes the backups, since a dump would take too long. Raises DBAPIError."""
    return database.autocommit(lambda connection: connection.execute(NEWEST_KIND).scalar()) == "snapshot"


def tell_ages(database: Database, clock: Clock) -> None:
    """Write as metrics how old the newest backup is that was read back, and how long ago one was restored on trial.

    What was never done has no age, but that of a first drill begins with the first backup; where RDS makes them, there
    are no drills. Raises DBAPIError.
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
