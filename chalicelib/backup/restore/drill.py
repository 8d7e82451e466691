"""Drill: restore a backup into a temporary schema, compare every row, and drop the schema.

Nothing that it restores can run: triggers are created after the rows, nothing calls routines, and events are left out.
"""

import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.connection import quoted
from chalicelib.backup.restore.contents import read_contents
from chalicelib.backup.restore.restore import Restoration, RestoreProgress, compare_programs
from chalicelib.backup.restore.screening import Limits, screen
from chalicelib.backup.restore.target import BEGUN, Journal, Target, list_schemas
from chalicelib.core.errors import ConfigurationError, NightshiftError, TransientError
from chalicelib.core.grants import DRILL_PREFIX
from chalicelib.core.telemetry import logger

_SCRATCH = re.compile(f"{DRILL_PREFIX}[0-9a-f]{{8}}")
# Marks the journal of a drill.
_DRILL = "drill"


@dataclass(frozen=True, kw_only=True)
class DrillResult:
    """What was restored, and how it differs from the manifest.

    `broken` are views that were already broken when they were backed up.
    """

    tables: int
    rows: int
    broken: Sequence[str]
    differences: Sequence[str]


def drill(reader: Reader, connect: Callable[[], Any], *, connections: int, progress: RestoreProgress) -> DrillResult:
    """Restore a backup on trial; `connect` is as in `restore`. No table may refer to another schema.

    Raises DamagedError, TransientError, PermanentError, and ConfigurationError if a privilege is missing.
    """
    manifest = reader.manifest
    contents = read_contents(reader, rows=True, threads=connections, progress=progress.checked)
    is_trusted = manifest.key_id is not None
    # Foreign keys are not checked while rows are loaded. Programs are not screened, because none of them runs.
    screen(contents.tables, Limits(is_trusted=is_trusted, is_foreign=lambda _: not is_trusted, may_refer=True))
    drop_stale_schemas(connect)
    target = Target(connect, schema=f"{DRILL_PREFIX}{secrets.token_hex(4)}")
    # Take the lock first, so that another drill does not drop this schema as stale.
    with target.lock(), _made(target):
        journal = Journal(target, avoiding={quoted(table.name) for table in manifest.tables})
        collation = manifest.server.collation or target.collation()
        notes = journal.begin({_DRILL: target.schema, "backup": manifest.id, "collation": collation})
        restoration = Restoration(reader, target, contents, journal, notes)
        restoration.create_tables()
        restoration.load_tables(connections=connections, progress=progress.loaded)
        broken = restoration.create_programs(set_definer=True, events=False)
        differences = restoration.compare(by_checksum=True, connections=connections)
        differences += [each.reason for each in broken if not each.was_broken]
        programs = msgspec.structs.replace(manifest.programs, events=0)
        differences += compare_programs(target, programs, broken=[each.kind for each in broken])
    return DrillResult(
        tables=len(manifest.tables),
        rows=manifest.rows,
        broken=[each.reason for each in broken if each.was_broken],
        differences=differences,
    )


def drop_stale_schemas(connect: Callable[[], Any]) -> list[str]:
    """Drop the schemas of killed drills, and return their names."""
    dropped = []
    for schema in filter(_SCRATCH.fullmatch, list_schemas(connect)):
        target = Target(connect, schema=schema)
        if _is_stale(target):
            target.drop()
            dropped.append(schema)
    return dropped


def _is_stale(target: Target) -> bool:
    """Return whether a schema with a drill's name belongs to a drill that is no longer running."""
    try:
        with target.lock():
            journal = Journal(target, avoiding=())
            objects = target.objects()
            return not objects or (
                journal.table in objects and journal.read().get(BEGUN, {}).get(_DRILL) == target.schema
            )
    except TransientError:
        return False


@contextmanager
def _made(target: Target) -> Iterator[None]:
    try:
        target.create()
    except ConfigurationError as error:
        pattern = DRILL_PREFIX.replace("_", r"\_") + "%"
        raise ConfigurationError(
            f"{error}; a drill needs all privileges there: GRANT ALL ON `{pattern}`.* to the user"
        ) from error
    try:
        yield
    except BaseException:
        try:
            target.drop()
        except NightshiftError as error:
            # The original error matters more, and the next drill tries again.
            logger.warning("drill schema could not be dropped", extra={"schema": target.schema, "error": str(error)})
        raise
    target.drop()
