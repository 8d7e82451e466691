"""Create, list, verify, drill, restore and prune the backups of a deployment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import text

from chalicelib.backup.archive.encryption import Keys, make_keys
from chalicelib.backup.archive.folder import DRILLED, VERIFIED, Listing, list_backups, mark, new_id, unmark
from chalicelib.backup.archive.manifest import Manifest, Part
from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.catalogue import Catalogue
from chalicelib.backup.dump.dump import back_up_schema
from chalicelib.backup.dump.scope import Plan, find_omitted
from chalicelib.backup.restore.contents import VerifyResult, verify
from chalicelib.backup.restore.drill import DrillResult, drill
from chalicelib.backup.restore.restore import RestoreProgress, RestoreRequest, RestoreResult, restore
from chalicelib.backup.retention import PruneResult, RetentionDecision, decide, prune
from chalicelib.backup.settings import BackupSettings
from chalicelib.backup.sqlite import back_up_file, drill_file, restore_file
from chalicelib.core import secrets
from chalicelib.core.clock import from_ms
from chalicelib.core.config import read_secrets
from chalicelib.core.context import Context
from chalicelib.core.errors import (
    ConfigurationError,
    DamagedError,
    InvalidRequestError,
    NightshiftError,
    PermanentError,
)

# Bytes of text per second before any backup was measured: the rate of the smallest Lambda function.
FIRST_RATE = 10_000_000
# Verifying takes about as long again if the network is the limit.
VERIFICATION = 2.0
# The slowest function dumps and verifies this much within a minute.
SMALL_BYTES = 32 << 20
READ_TIMEOUT_SECONDS = 600
SIZES = text(
    "SELECT table_name, COALESCE(data_length, 0) FROM information_schema.tables WHERE table_schema = DATABASE()"
)


class Backups:
    """The backups in the bucket; the catalogue follows them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.settings(BackupSettings)
        self.catalogue = Catalogue(context.database, context.clock, kind="dump")

    @cached_property
    def keys(self) -> Keys:
        """The current keys of BACKUP_KEY. Raises ConfigurationError, TransientError."""
        if self._settings.backup_key is None:
            return make_keys(())
        # Read the secret again: a replaced key must no longer encrypt.
        text = secrets.resolve_again(self._settings.backup_key, now_ms=self._context.clock.now_ms())
        try:
            return make_keys(read_secrets(text))
        except ValueError as error:
            raise ConfigurationError(f"what BACKUP_KEY refers to {error}") from None

    def list(self) -> Listing:
        """List the backups in the bucket. Raises TransientError."""
        return list_backups(self._context.store)

    def reader(self, id: str, *, plain: bool) -> Reader:
        """Open a backup. Raises as `Reader`."""
        return Reader(self._context.store, id=id, keys=self.keys, plain=plain)

    def seconds_needed(self) -> float:
        """Estimate how long a backup and its verification take, from the size of the tables and the recent rate.

        Return 0 for a small database, so that one slow backup never blocks the next.
        """
        if self._is_file:
            return 0.0
        sizes = self._context.database.autocommit(lambda connection: connection.execute(SIZES).all())
        plan = self._plan
        size = sum(int(each) for name, each in sizes if plan.takes(name) and plan.takes_rows(name))
        if size <= SMALL_BYTES:
            return 0.0
        return VERIFICATION * size / (self.catalogue.rate() or FIRST_RATE)

    def left_out(self) -> Mapping[str, Sequence[str]]:
        """Return what the schema has and a backup lacks, as `find_omitted`."""
        if self._is_file:
            return {}
        return self._context.database.autocommit(lambda connection: find_omitted(connection, self._plan))

    def make(self, *, run_id: str, attempt: int) -> str:
        """Create a backup and return its id. Raises as `back_up_schema`, and PermanentError when time runs out."""
        id = new_id(from_ms(self._context.clock.now_ms()), run_id=run_id, attempt=attempt)
        self.catalogue.begin(id, run_id=run_id)
        try:
            manifest = self._make(id)
        except NightshiftError as error:
            self.catalogue.fail(id, error)
            raise
        self.catalogue.finish(id, manifest)
        return id

    def _make(self, id: str) -> Manifest:
        settings, store = self._settings, self._context.store
        if self._is_file:
            return back_up_file(Path(self.schema), store, id=id, keys=self.keys)

        def progress(_part: Part) -> None:
            if self._context.is_out_of_time():
                raise PermanentError(
                    "the database is too large to back up within the function's time: give the function more memory, "
                    "leave tables out with BACKUP_SCHEMA_ONLY, or use RDS snapshots with BACKUP_RDS"
                )

        return back_up_schema(
            self.connector(),
            store,
            id=id,
            keys=self.keys,
            plan=self._plan,
            connections=settings.backup_connections,
            progress=progress,
        )

    def verify(self, id: str, *, plain: bool, progress: Callable[[int], None], done: int = 0) -> VerifyResult:
        """Verify a backup and record the result. Raises as `verify`."""
        try:
            verified = verify(
                self._context.store,
                id,
                keys=self.keys,
                plain=plain,
                threads=self._settings.backup_connections,
                progress=progress,
                done=done,
            )
        except DamagedError as error:
            self.catalogue.record_defect(id, error)
            raise
        self.catalogue.record_check(id, since="verified_at")
        return verified

    def drill(self, id: str, *, plain: bool, progress: RestoreProgress) -> DrillResult:
        """Restore a backup on trial and record the result. Raises as `drill`, and DamagedError if the result differs.

        A backup that cannot be restored loses its verification.
        """
        reader = self.reader(id, plain=plain)
        try:
            if self._is_file:
                drilled = drill_file(reader, progress=progress.checked)
            else:
                drilled = drill(
                    reader,
                    self.connector(schema=None),
                    connections=self._settings.backup_connections,
                    progress=progress,
                )
            if drilled.differences:
                raise DamagedError(f"backup {id} differs after a restore: {'; '.join(drilled.differences[:5])}")
        except PermanentError as error:
            # Retention relies on the mark.
            unmark(self._context.store, id, VERIFIED)
            self.catalogue.record_defect(id, error)
            raise
        mark(self._context.store, id, DRILLED)
        self.catalogue.record_check(id, since="drilled_at")
        return drilled

    def restore(self, id: str, request: RestoreRequest, *, plain: bool, progress: RestoreProgress) -> RestoreResult:
        """Restore a backup; for SQLite, the schema is the path of a file. Raises as `Reader` and `restore`."""
        reader = self.reader(id, plain=plain)
        if self._is_file:
            if request.tables is not None:
                raise InvalidRequestError("a backup of an SQLite file can only be restored as a whole: name no tables")
            path = Path(request.schema)
            try:
                return restore_file(reader, path, replace=request.replace, progress=progress.checked)
            except OSError as error:
                raise InvalidRequestError(f"{path} cannot be written: {error.strerror}") from error
        return restore(reader, self.connector(schema=None), request, progress=progress)

    def decisions(self) -> tuple[RetentionDecision[Any], ...]:
        """Return which backups to keep and which to remove, with reasons. Raises TransientError."""
        now = from_ms(self._context.clock.now_ms())
        return tuple(decide(self.list().backups, now=now, policy=self._settings.backup_keep))

    def prune(self, *, dry_run: bool) -> PruneResult:
        """Remove what BACKUP_KEEP does not keep, and reconcile the catalogue. Raises TransientError."""
        now = from_ms(self._context.clock.now_ms())
        pruned = prune(self._context.store, self.decisions(), now=now, dry_run=dry_run)
        if not dry_run:
            self.catalogue.reconcile(self.list().backups)
        return pruned

    def connector(self, **where: Any) -> Callable[[], Any]:
        """Return a function that connects to the database, or with `schema=None` to no schema."""
        from pymysql.constants import CLIENT

        options: dict[str, Any] = {"client_flag": CLIENT.LOCAL_FILES, "read_timeout": READ_TIMEOUT_SECONDS}
        if "schema" in where:
            options["database"] = where["schema"]
        connect = self._context.connector
        return lambda: connect(**options)

    @property
    def schema(self) -> str:
        """The application's schema; for SQLite, the path of its file."""
        return self._context.database.engine.url.database or ""

    @property
    def _plan(self) -> Plan:
        settings = self._settings
        return Plan(
            include=settings.backup_include, exclude=settings.backup_exclude, schema_only=settings.backup_schema_only
        )

    @property
    def _is_file(self) -> bool:
        return self._context.database.engine.dialect.name == "sqlite"
