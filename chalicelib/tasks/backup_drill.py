"""The restore drill: the newest verified backup is restored into a schema of its own and compared, and that dropped."""

from chalicelib.api import Context, Counts, OutOfTimeError, PermanentError, Run, Skipped, logger, task
from chalicelib.backup.archive.manifest import Part
from chalicelib.backup.backups import Backups
from chalicelib.backup.catalogue import relies_on_snapshots
from chalicelib.backup.restore.restore import RestoreProgress
from chalicelib.core.telemetry import bind


@task(max_attempts=2, catch_up="skip")
def backup_drill(context: Context, run: Run) -> Counts:
    """Drill, unless RDS makes the backups; counts are tables."""
    if relies_on_snapshots(context.database):
        raise Skipped("RDS makes the backups, and its exports read all of each; a drill restores dumps alone")
    backups = Backups(context)
    newest = backups.list().newest_verified
    if newest is None:
        raise PermanentError("there is no verified backup to restore; run database_backup first")
    bind(backup=newest.id)
    manifest = backups.reader(newest.id, plain=False).manifest
    if run.dry_run:
        return Counts(total=len(manifest.tables), skipped=len(manifest.tables))

    def progress(_part: Part) -> None:
        if context.is_out_of_time():
            raise OutOfTimeError("the deadline is near")

    try:
        drilled = backups.drill(newest.id, plain=False, progress=RestoreProgress(checked=progress, loaded=progress))
    except OutOfTimeError as error:
        raise PermanentError(
            f"backup {newest.id} cannot be restored within one function's time: give backup_drill more memory, or "
            "drill from a machine with `nightshift backup drill`"
        ) from error
    if drilled.broken:
        logger.warning("views that were broken are not restored", extra={"reasons": drilled.broken})
    return Counts(total=drilled.tables, succeeded=drilled.tables)
