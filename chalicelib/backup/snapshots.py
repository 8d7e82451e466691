"""The snapshots that RDS makes where a dump would take too long, as a deployment's settings say."""

from __future__ import annotations

from typing import cast

from chalicelib.backup.catalogue import Catalogue
from chalicelib.backup.exports import Destination, Progress, advance, remove
from chalicelib.backup.folder import new_id
from chalicelib.backup.prune import Pruned
from chalicelib.backup.rds import Kind, Rds
from chalicelib.backup.retention import decide
from chalicelib.core.clock import from_ms
from chalicelib.core.context import Context
from chalicelib.core.deadline import time_limit
from chalicelib.core.errors import ConfigurationError, NightshiftError, PermanentError
from chalicelib.core.telemetry import logger

# Of the watch's minute, which a client that waits for an answer and asks again could spend whole.
LONGEST_SECONDS = 20.0


def look_after(context: Context) -> None:
    """Go on with the snapshots that are not read back yet, and where there are none, ask RDS nothing.

    What becomes of one of them is told by its row, the log and the age of the newest that was read back.
    Raises ConfigurationError, PermanentError, TransientError, DBAPIError.
    """
    if not Catalogue(context.database, context.clock, kind="snapshot").is_any_open():
        return
    with time_limit(LONGEST_SECONDS):
        progress = Snapshots(context).advance()
    for id, reason in progress.failed.items():
        logger.error("snapshot not read back", extra={"snapshot": id, "error": reason})


class Snapshots:
    """All of them. Raises ConfigurationError without the settings, PermanentError, TransientError."""

    def __init__(self, context: Context) -> None:
        settings = context.settings
        if not (settings.backup_rds and settings.backup_export_role and settings.backup_export_key):
            raise ConfigurationError(
                "for snapshots by RDS, set BACKUP_RDS, BACKUP_EXPORT_ROLE and BACKUP_EXPORT_KEY (docs/settings.md)"
            )
        kind, _, database = settings.backup_rds.partition(":")
        self._context = context
        self._rds = Rds(context.client("rds"), kind=cast(Kind, kind), database=database)
        self._to = Destination(
            bucket=settings.bucket, role_arn=settings.backup_export_role, key_arn=settings.backup_export_key
        )
        self._catalogue = Catalogue(context.database, context.clock, kind="snapshot")

    def begin(self, *, run_id: str, attempt: int) -> str:
        """Have RDS begin a snapshot, and return its id; `advance` notices what becomes of it."""
        id = new_id(from_ms(self._context.clock.now_ms()), run_id=run_id, attempt=attempt)
        self._catalogue.begin(id, run_id=run_id)
        try:
            self._rds.create(id)
        except NightshiftError as error:
            self._catalogue.fail(id, error)
            raise
        return id

    def advance(self) -> Progress:
        """Begin the exports of snapshots that are there, notice those that are over, and mend the catalogue."""
        now = from_ms(self._context.clock.now_ms())
        progress = advance(self._rds, self._rds.list(), to=self._to, now=now)
        found = {snapshot.id: snapshot for snapshot in self._rds.list()}
        self._catalogue.mend(tuple(found.values()))
        for id, reason in progress.failed.items():
            is_made = id in found and found[id].finished_at is not None
            (self._catalogue.distrust if is_made else self._catalogue.fail)(id, PermanentError(reason))
        return progress

    def prune(self, *, dry_run: bool) -> Pruned:
        """Remove what BACKUP_KEEP does not keep."""
        now = from_ms(self._context.clock.now_ms())
        decisions = decide(self._rds.list(), now=now, policy=self._context.settings.backup_keep)
        return remove(self._rds, self._context.store, decisions, dry_run=dry_run)
