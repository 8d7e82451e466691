"""The database backup: dumped to the bucket, read back, and what is too old removed; or by RDS, where it is too big."""

from chalicelib.api import Context, Counts, OutOfTimeError, PermanentError, Run, logger, save_checkpoint, task
from chalicelib.backup.backups import Backups
from chalicelib.backup.rds import Snapshots
from chalicelib.backup.settings import BackupSettings
from chalicelib.core.context import RESERVE_MS
from chalicelib.core.telemetry import bind


@task
def database_backup(context: Context, run: Run) -> Counts:
    """Make a backup and verify it; counts are tables. A verification that has no time left continues later.

    Where a dump would take longer than the function has, RDS begins a snapshot, which counts as one; the watch has it
    exported, which reads it back.
    """
    backups = Backups(context)
    made = (run.checkpoint or {}).get("backup")
    needed, available = backups.seconds_needed() if made is None else 0, (context.remaining_ms() - RESERVE_MS) / 1000
    if made is None and needed > available:
        reason = f"a dump would take about {needed:.0f} s and the function has {available:.0f} s"
        if context.settings(BackupSettings).backup_rds is None:
            raise PermanentError(
                f"{reason}, so none was begun: give it more memory, leave tables out with BACKUP_SCHEMA_ONLY, or let "
                "RDS do it with BACKUP_RDS"
            )
        logger.info("a snapshot by RDS instead", extra={"reason": reason})
        return _snapshot(context, run)
    if run.dry_run:
        removed = backups.prune(dry_run=True).removed
        logger.info("retention would remove backups", extra={"backups": removed})
        return Counts()
    if made is None:
        made = backups.make(run_id=str(run.id), attempt=run.attempt)
        save_checkpoint(context, run, {"backup": made})
    bind(backup=made)
    if left_out := backups.left_out():
        bind(**left_out)
        logger.warning("the backup lacks a part of the schema")
    _verify(context, run, backups, made)
    # Behind the verification: a backup that cannot be read must not make an older one go.
    pruned = backups.prune(dry_run=False)
    if pruned.kept:
        logger.warning("backups that should go are still there", extra={"backups": pruned.kept})
    manifest = backups.reader(made, plain=False).manifest
    if manifest.broken_views:
        bind(broken_views=list(manifest.broken_views))
    return Counts(total=len(manifest.tables), succeeded=len(manifest.tables))


def _verify(context: Context, run: Run, backups: Backups, made: str) -> None:
    # A number, whatever the backup's size: what was read out of turn is read again.
    read = (run.checkpoint or {}).get("parts", 0)

    def progress(parts: int) -> None:
        nonlocal read
        read = max(read, parts)
        if context.is_out_of_time():
            raise OutOfTimeError(f"backup {made} is made, and its verification continues later")

    try:
        backups.verify(made, plain=False, progress=progress, done=read)
    except OutOfTimeError:
        save_checkpoint(context, run, {"backup": made, "parts": read})
        raise


def _snapshot(context: Context, run: Run) -> Counts:
    snapshots = Snapshots(context)
    if run.dry_run:
        return Counts(total=1, skipped=1)
    bind(snapshot=snapshots.begin(run_id=str(run.id), attempt=run.attempt))
    snapshots.prune(dry_run=False)
    return Counts(total=1, succeeded=1)
