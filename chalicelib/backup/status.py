"""The section of the status about backups: the latest, the newest that was read back, and whether that is too old."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from chalicelib.core.clock import from_ms
from chalicelib.core.redaction import redact
from chalicelib.operate.operations import Section
from chalicelib.operate.status.findings import Finding
from chalicelib.operate.status.words import at, between
from chalicelib.schedule.schedule import Schedule
from chalicelib.schema import backups

LATEST, LONG = 5, 1000
# What RDS takes to make a snapshot and export it.
LATE = timedelta(hours=6)


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A backup of the moment `taken_at`; `bytes` are those stored, None where that is not known."""

    id: str
    kind: str
    status: str
    taken_at: datetime
    verified_at: datetime | None
    drilled_at: datetime | None
    bytes: int | None
    error: str | None


@dataclass(frozen=True, kw_only=True)
class BackupsStatus:
    """The latest backups, the newest first, and the newest that was read back."""

    latest: tuple[Backup, ...]
    verified: Backup | None


def read_backups(connection: Connection) -> BackupsStatus:
    """Return the status of the backups."""
    newest_first = select(backups).where(backups.c.status != "removed").order_by(backups.c.taken_at.desc())
    verified = newest_first.where(backups.c.status == "finished", backups.c.verified_at.is_not(None)).limit(1)
    rows = {row.id: row for query in (newest_first.limit(LATEST), verified) for row in connection.execute(query)}
    found = [_backup(row) for row in rows.values()]
    trusted = [backup for backup in found if backup.status == "finished" and backup.verified_at]
    return BackupsStatus(latest=tuple(found[:LATEST]), verified=trusted[0] if trusted else None)


def find(found: BackupsStatus, schedules: Mapping[str, Schedule], now: datetime) -> Iterator[Finding]:
    """Yield what is wrong with the backups, of which nothing is asked where no task makes any."""
    schedule = schedules.get("database_backup")
    if schedule is None:
        return
    if newest := found.verified:
        # By its schedule, which may well rest at weekends.
        after = newest.taken_at + schedule.every if schedule.every else next(schedule.after(newest.taken_at), now)
        if after + LATE < now:
            matter = f"is of {at(newest.taken_at, now=now)}, {between(newest.taken_at, now)} ago"
            yield Finding(section="backups", subject="the newest verified backup", matter=matter)
    elif any(backup.taken_at + LATE < now for backup in found.latest):
        yield Finding(section="backups", subject="no backup", matter="was ever verified")


def _backup(row: Any) -> Backup:
    return Backup(
        id=row.id,
        kind=row.kind,
        status=row.status,
        taken_at=from_ms(row.taken_at),
        verified_at=None if row.verified_at is None else from_ms(row.verified_at),
        drilled_at=None if row.drilled_at is None else from_ms(row.drilled_at),
        bytes=row.stored_bytes,
        error=None if row.error is None else redact(row.error)[:LONG],
    )


SECTION = Section(
    name="backups", read=read_backups, find=find, template=Path(__file__).parent / "templates" / "backups.html.j2"
)
