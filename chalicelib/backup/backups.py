"""The backups of a deployment, made, read back, drilled and removed as its settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import text

from chalicelib.backup.archive.encryption import Keys, keys_of
from chalicelib.backup.archive.folder import DRILLED, VERIFIED, Listing, list_backups, mark, new_id, unmark
from chalicelib.backup.archive.manifest import Manifest, Part
from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.catalogue import Catalogue
from chalicelib.backup.create import back_up_file, back_up_schema
from chalicelib.backup.drill import Drilled, drill
from chalicelib.backup.dump.scope import Plan, find_left_out
from chalicelib.backup.prune import Pruned, prune
from chalicelib.backup.restore.contents import Verified, verify
from chalicelib.backup.restore.restore import Progress, Request, Restored, restore
from chalicelib.backup.retention import Decision, decide
from chalicelib.backup.settings import BackupSettings
from chalicelib.backup.sqlite import drill_file, restore_file
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

# Of text, before there is any backup to learn from: what the smallest of Lambda's machines manages.
FIRST_RATE = 10_000_000
# Reading it back takes about as long again where the network is the limit.
VERIFICATION = 2.0
# So little is dumped and read back in a minute by the slowest of functions, whatever its last minutes were like.
LITTLE_OCTETS = 32 << 20
READ_TIMEOUT_SECONDS = 600
SIZES = text(
    "SELECT table_name, COALESCE(data_length, 0) FROM information_schema.tables WHERE table_schema = DATABASE()"
)


class Backups:
    """All of them; what is there, the bucket says, and the catalogue follows."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._settings = context.settings(BackupSettings)
        self.catalogue = Catalogue(context.database, context.clock, kind="dump")

    @cached_property
    def keys(self) -> Keys:
        """The keys of BACKUP_KEY, as they are now. Raises ConfigurationError, TransientError."""
        if self._settings.backup_key is None:
            return keys_of(())
        # A key that this process read earlier may have been replaced, and must encrypt nothing more.
        text = secrets.resolve_again(self._settings.backup_key, now_ms=self._context.clock.now_ms())
        try:
            return keys_of(read_secrets(text))
        except ValueError as error:
            raise ConfigurationError(f"what BACKUP_KEY refers to {error}") from None

    def list(self) -> Listing:
        """Return what the bucket holds. Raises TransientError."""
        return list_backups(self._context.store)

    def reader(self, id: str, *, plain: bool) -> Reader:
        """Return what reads a backup. Raises as `Reader`."""
        return Reader(self._context.store, id=id, keys=self.keys, plain=plain)

    def seconds_needed(self) -> float:
        """Return how long a backup and its verification will take, by the size of the tables and the recent rate.

        Of little, that is nothing: the rate of one bad minute refuses no small backup.
        """
        if self._is_file:
            return 0.0
        sizes = self._context.database.autocommit(lambda connection: connection.execute(SIZES).all())
        plan = self._plan
        octets = sum(int(size) for name, size in sizes if plan.takes(name) and plan.takes_rows(name))
        if octets <= LITTLE_OCTETS:
            return 0.0
        return VERIFICATION * octets / (self.catalogue.rate() or FIRST_RATE)

    def left_out(self) -> Mapping[str, Sequence[str]]:
        """Return what the schema has and a backup has not, as `find_left_out`."""
        if self._is_file:
            return {}
        return self._context.database.autocommit(lambda connection: find_left_out(connection, self._plan))

    def make(self, *, run_id: str, attempt: int) -> str:
        """Make a backup and return its id. Raises as `back_up_schema`, PermanentError also when time runs out."""
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
                    "the database is too big for a backup within one function's time: give the function more memory, "
                    "leave tables out with BACKUP_SCHEMA_ONLY, or let RDS do it with BACKUP_RDS"
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

    def verify(self, id: str, *, plain: bool, progress: Callable[[int], None], done: int = 0) -> Verified:
        """Read a backup back whole, and record whether it is to be relied on. Raises as `verify`."""
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
            self.catalogue.distrust(id, error)
            raise
        self.catalogue.trust(id, since="verified_at")
        return verified

    def drill(self, id: str, *, plain: bool, progress: Progress) -> Drilled:
        """Restore a backup on trial, and record how that went. Raises as `drill`, and DamagedError where it differs.

        One that cannot be restored, for what it holds, is no longer a verified one.
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
                raise DamagedError(f"backup {id} restores to something else: {'; '.join(drilled.differences[:5])}")
        except PermanentError as error:
            # Retention trusts the mark.
            unmark(self._context.store, id, VERIFIED)
            self.catalogue.distrust(id, error)
            raise
        mark(self._context.store, id, DRILLED)
        self.catalogue.trust(id, since="drilled_at")
        return drilled

    def restore(self, id: str, request: Request, *, plain: bool, progress: Progress) -> Restored:
        """Restore a backup; of an SQLite file, the schema is the path of one. Raises as `Reader` and `restore`."""
        reader = self.reader(id, plain=plain)
        if self._is_file:
            if request.tables is not None:
                raise InvalidRequestError("a backup of an SQLite file is restored whole: name no tables")
            path = Path(request.schema)
            try:
                return restore_file(reader, path, replace=request.replace, progress=progress.checked)
            except OSError as error:
                raise InvalidRequestError(f"{path} cannot be written: {error.strerror}") from error
        return restore(reader, self.connector(schema=None), request, progress=progress)

    def decisions(self) -> tuple[Decision[Any], ...]:
        """Return what is to be kept and what to go, with reasons. Raises TransientError."""
        now = from_ms(self._context.clock.now_ms())
        return tuple(decide(self.list().backups, now=now, policy=self._settings.backup_keep))

    def prune(self, *, dry_run: bool) -> Pruned:
        """Remove what BACKUP_KEEP does not keep, and mend the catalogue. Raises TransientError."""
        now = from_ms(self._context.clock.now_ms())
        pruned = prune(self._context.store, self.decisions(), now=now, dry_run=dry_run)
        if not dry_run:
            self.catalogue.mend(self.list().backups)
        return pruned

    def connector(self, **where: Any) -> Callable[[], Any]:
        """Return what connects to the database, or with `schema` None to the server alone, for streams of rows."""
        from pymysql.constants import CLIENT

        options: dict[str, Any] = {"client_flag": CLIENT.LOCAL_FILES, "read_timeout": READ_TIMEOUT_SECONDS}
        if "schema" in where:
            options["database"] = where["schema"]
        connect = self._context.connector
        return lambda: connect(**options)

    @property
    def schema(self) -> str:
        """The application's own schema; of SQLite, the path of its file."""
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
