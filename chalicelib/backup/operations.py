"""What backups add to the operation of a deployment."""

from collections.abc import Collection
from importlib.util import find_spec
from typing import Any

from sqlalchemy.exc import DBAPIError

from chalicelib.backup import catalogue
from chalicelib.backup.settings import BackupSettings
from chalicelib.backup.status import SECTION
from chalicelib.core.context import Context
from chalicelib.operate.operations import Operations

# By what a right is for: the task that needs it, where the project has that.
TASKS = {"backups": "database_backup", "drills": "backup_drill"}


def check_backup(context: Context) -> dict[str, Any]:
    """Return what a backup reads: the schema, or RDS's snapshots."""
    if catalogue.relies_on_snapshots(context.database):
        return {"rds": context.settings(BackupSettings).backup_rds}
    return {"reads": context.database.engine.url.database}


def emit_ages(context: Context) -> None:
    """Emit the age of the newest verified backup and of the last drill."""
    catalogue.emit_ages(context.database, context.clock)


def advance_snapshots(context: Context) -> None:
    """Have RDS export its snapshots, where it makes any."""
    if context.settings(BackupSettings).backup_rds is not None:
        # Few deployments use RDS snapshots, and the import is slow.
        from chalicelib.backup import rds

        rds.advance_snapshots(context)


def needed_rights(context: Context) -> Collection[str]:
    """Return what the database's user needs rights for. RDS needs none."""
    if _relies_on_snapshots(context):
        return ()
    return [purpose for purpose, task in TASKS.items() if find_spec(f"chalicelib.tasks.{task}")]


def _relies_on_snapshots(context: Context) -> bool:
    try:
        return context.settings(BackupSettings).backup_rds is not None and catalogue.relies_on_snapshots(
            context.database
        )
    except DBAPIError:
        # There is no table yet, so there is no backup either.
        return False


OPERATIONS = Operations(
    commands="chalicelib.backup.commands",
    probes={"backup": check_backup},
    # Snapshots last: RDS may take its time.
    checks={"backups": emit_ages, "snapshots": advance_snapshots},
    rights=needed_rights,
    section=SECTION,
)
