"""An operator's commands on backups: list, create, verify, drill, restore and prune."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from chalicelib.backup.archive.manifest import Part
from chalicelib.backup.backups import Backups
from chalicelib.backup.restore.restore import RestoreProgress, RestoreRequest
from chalicelib.backup.settings import BackupSettings
from chalicelib.core.clock import from_ms, iso
from chalicelib.core.context import Context
from chalicelib.core.errors import OutOfTimeError, PermanentError
from chalicelib.operate.operations import Command, Nothing
from chalicelib.runs import execution

Wanted = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class One(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backup: `latest`, an id, or a moment, for the last one before it; `plain` allows one without a key."""

    backup: Wanted = "latest"
    plain: bool = False


class Prune(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether only to list what would be removed."""

    dry_run: bool = True


class Restore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A backup as in `One`, and where it goes; the other keys as of a restore's request."""

    backup: Wanted = "latest"
    plain: bool = False
    schema: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)] | None = None
    tables: Sequence[str] | None = None
    replace: bool = False
    allow_cross_schema: bool = False
    programs: bool | None = None
    set_definer: bool = False
    by_checksum: bool = False


def list_backups(context: Context, _: Nothing) -> dict[str, Any]:
    """Return each backup of the bucket, newest first, with what retention will do to it and why."""
    decisions = Backups(context).decisions()
    return {
        "backups": [
            {
                "id": each.backup.id,
                "taken_at": iso(each.backup.taken_at),
                "finished_at": _moment(each.backup.finished_at),
                "verified_at": _moment(each.backup.verified_at),
                "drilled_at": _moment(each.backup.drilled_at),
                "bytes": each.backup.bytes,
                "keep": each.keep,
                "reasons": list(each.reasons),
            }
            for each in decisions
        ]
    }


def create(context: Context, _: Nothing) -> dict[str, Any]:
    """Make a backup now, as the task does, and return the run's summary. Raises RunFailedError."""
    # To the second: one that is asked for right after another takes in what has changed since.
    now = iso(from_ms(context.clock.now_ms()))
    return execution.execute("database_backup", event={"scheduled_for": now}, context=context)


def verify(context: Context, request: One) -> dict[str, Any]:
    """Read a backup back whole, and mark it."""
    backups = Backups(context)
    id = backups.list().find(request.backup).id
    verified = backups.verify(id, plain=request.plain, progress=lambda _: _check_time(context, id))
    return {"backup": id, **msgspec.to_builtins(verified)}


def drill(context: Context, request: One) -> dict[str, Any]:
    """Restore a backup into a schema of its own, compare it, and drop the schema."""
    backups = Backups(context)
    id = backups.list().find(request.backup).id
    drilled = backups.drill(id, plain=request.plain, progress=_progress(context, id))
    return {"backup": id, **msgspec.to_builtins(drilled)}


def restore(context: Context, request: Restore) -> dict[str, Any]:
    """Restore a backup into a schema, by default the application's own.

    A restore that runs out of time is incomplete, and the same request continues it. Raises PermanentError if it would
    never finish.
    """
    backups = Backups(context)
    id = backups.list().find(request.backup).id
    wanted = RestoreRequest(
        schema=request.schema or backups.schema,
        tables=request.tables,
        replace=request.replace,
        allow_cross_schema=request.allow_cross_schema,
        programs=request.programs,
        set_definer=request.set_definer,
        by_checksum=request.by_checksum,
        connections=context.settings(BackupSettings).backup_connections,
    )
    loaded: list[str] = []

    def note(part: Part) -> None:
        loaded.append(part.name)
        _check_time(context, id)

    progress = RestoreProgress(checked=lambda _: _check_time(context, id), loaded=note)
    try:
        restored = backups.restore(id, wanted, plain=request.plain, progress=progress)
    except OutOfTimeError as error:
        if not loaded:
            # All of it is read each time before anything else, so the next time would come no further.
            raise PermanentError(str(error)) from error
        return {"backup": id, "is_complete": False}
    return {"backup": id, "is_complete": True, **msgspec.to_builtins(restored)}


def prune(context: Context, request: Prune) -> dict[str, Any]:
    """Remove what BACKUP_KEEP does not keep, or list what that would be."""
    return dict(msgspec.to_builtins(Backups(context).prune(dry_run=request.dry_run)))


def _progress(context: Context, id: str) -> RestoreProgress:
    def check(_part: Part) -> None:
        _check_time(context, id)

    return RestoreProgress(checked=check, loaded=check)


def _check_time(context: Context, id: str) -> None:
    if context.is_out_of_time():
        raise OutOfTimeError(
            f"backup {id} takes longer than one invocation has: give the function more memory, or do it from a machine "
            "that reaches the database and the bucket, without a stage"
        )


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)


COMMANDS: dict[str, Command] = {
    "backup.list": (Nothing, list_backups),
    "backup.create": (Nothing, create),
    "backup.verify": (One, verify),
    "backup.drill": (One, drill),
    "backup.restore": (Restore, restore),
    "backup.prune": (Prune, prune),
}
