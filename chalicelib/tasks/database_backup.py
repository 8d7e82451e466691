"""The database backup: dumped to the bucket, read back, and what is too old removed."""

from datetime import timedelta

from chalicelib.backup.backups import Backups
from chalicelib.backup.manifest import Part
from chalicelib.claims import Run, save_checkpoint
from chalicelib.context import RESERVE_MS, Context
from chalicelib.errors import OutOfTimeError, PermanentError
from chalicelib.outcome import Counts
from chalicelib.tasks import Task
from chalicelib.telemetry import bind, logger


def perform(context: Context, run: Run) -> Counts:
    """Make a backup and verify it; counts are tables. A verification that time does not allow is handed on."""
    backups = Backups(context)
    _check_time(context, backups.seconds_needed())
    if run.dry_run:
        removed = backups.prune(dry_run=True).removed
        logger.info("retention would remove backups", extra={"backups": removed})
        return Counts()
    made = (run.checkpoint or {}).get("backup")
    if made is None:
        made = backups.make(run_id=str(run.id), attempt=run.attempt)
        save_checkpoint(context, run, {"backup": made})
    bind(backup=made)

    def progress(_part: Part) -> None:
        if context.is_out_of_time():
            raise OutOfTimeError(f"backup {made} is made, and its verification is handed on")

    backups.verify(made, plain=False, progress=progress)
    # Behind the verification: a backup that cannot be read must not make an older one go.
    pruned = backups.prune(dry_run=False)
    if pruned.kept:
        logger.warning("backups that should go are still there", extra={"backups": pruned.kept})
    tables = len(backups.reader(made, plain=False).manifest.tables)
    return Counts(total=tables, succeeded=tables)


def _check_time(context: Context, seconds: float) -> None:
    available = (context.remaining_ms() - RESERVE_MS) / 1000
    if seconds > available:
        raise PermanentError(
            f"a backup would take about {seconds:.0f} s and the function has {available:.0f} s, so none was begun: "
            "give it more memory, leave tables out with BACKUP_SCHEMA_ONLY, or let RDS do it with BACKUP_RDS"
        )


TASK = Task(
    name="database_backup",
    perform=perform,
    max_failed_share=0.0,
    max_attempts=3,
    overlap="skip",
    catch_up="latest",
    grace=timedelta(minutes=15),
)
