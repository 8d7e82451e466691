"""How old backups and drills are, and what a deployment relies on, by the catalogue."""

from sqlalchemy import case, func, select

from chalicelib.core.clock import Clock
from chalicelib.core.database import Database
from chalicelib.core.telemetry import age
from chalicelib.schema import backups

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
