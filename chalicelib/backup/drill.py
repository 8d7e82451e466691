"""The drill: a backup is restored into a schema made for it, compared row by row, and the schema dropped again.

Nothing that it restores can run: triggers come after the rows, nobody calls routines, and events are not made.
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
from chalicelib.backup.restore.comparing import compare_programs
from chalicelib.backup.restore.contents import read_contents
from chalicelib.backup.restore.restore import Progress, Restoration
from chalicelib.backup.restore.screening import Limits, screen
from chalicelib.backup.restore.target import BEGUN, Journal, Target, schemas_of
from chalicelib.core.errors import ConfigurationError, NightshiftError, TransientError
from chalicelib.core.grants import DRILL_PREFIX
from chalicelib.core.telemetry import logger

_SCRATCH = re.compile(f"{DRILL_PREFIX}[0-9a-f]{{8}}")
# What tells a drill's journal from that of a restore.
_DRILL = "drill"


@dataclass(frozen=True, kw_only=True)
class Drilled:
    """What was restored, and how it differs from the manifest: not at all, if the backup is good.

    `broken` are the views that were broken when they were backed up, and cannot be made.
    """

    tables: int
    rows: int
    broken: Sequence[str]
    differences: Sequence[str]


def drill(reader: Reader, connect: Callable[[], Any], *, connections: int, progress: Progress) -> Drilled:
    """Restore a backup on trial; `connect` as of `restore`. No table may reach out of the schema.

    Raises DamagedError, TransientError, PermanentError, and ConfigurationError for a privilege that is missing.
    """
    manifest = reader.manifest
    contents = read_contents(reader, rows=True, threads=connections, progress=progress.checked)
    is_trusted = manifest.key_id is not None
    # A foreign key is not followed while rows are loaded. Programs are not screened: none of them runs.
    screen(contents.tables, Limits(is_trusted=is_trusted, is_foreign=lambda _: not is_trusted, may_refer=True))
    drop_left_over(connect)
    target = Target(connect, schema=f"{DRILL_PREFIX}{secrets.token_hex(4)}")
    # The lock first: whoever looks for schemas that are left over shall not take this for one.
    with target.alone(), _made(target):
        journal = Journal(target, avoiding={quoted(table.name) for table in manifest.tables})
        collation = manifest.server.collation or target.collation()
        notes = journal.begin({_DRILL: target.schema, "backup": manifest.id, "collation": collation})
        restoration = Restoration(reader, target, contents, journal, notes)
        restoration.make_tables()
        restoration.fill_tables(connections=connections, progress=progress.loaded)
        broken = restoration.make_programs(own=True, events=False)
        differences = restoration.compare(by_checksum=True, connections=connections)
        differences += [each.reason for each in broken if not each.was_broken]
        programs = msgspec.structs.replace(manifest.programs, events=0)
        differences += compare_programs(target, programs, broken=[each.kind for each in broken])
    return Drilled(
        tables=len(manifest.tables),
        rows=manifest.rows,
        broken=[each.reason for each in broken if each.was_broken],
        differences=differences,
    )


def drop_left_over(connect: Callable[[], Any]) -> list[str]:
    """Drop the schemas of drills that were killed, and return their names."""
    dropped = []
    for schema in filter(_SCRATCH.fullmatch, schemas_of(connect)):
        target = Target(connect, schema=schema)
        if _is_left_over(target):
            target.drop()
            dropped.append(schema)
    return dropped


def _is_left_over(target: Target) -> bool:
    """Return whether a schema with a drill's name is that of one, and of one that is over."""
    try:
        with target.alone():
            journal = Journal(target, avoiding=())
            things = target.things()
            return not things or (
                journal.thing in things and journal.read().get(BEGUN, {}).get(_DRILL) == target.schema
            )
    except TransientError:
        return False


@contextmanager
def _made(target: Target) -> Iterator[None]:
    try:
        target.create()
    except ConfigurationError as error:
        pattern = DRILL_PREFIX.replace("_", r"\_") + "%"
        raise ConfigurationError(f"{error}; a drill needs it all: GRANT ALL ON `{pattern}`.* to the user") from error
    try:
        yield
    except BaseException:
        try:
            target.drop()
        except NightshiftError as error:
            # The error on its way out says more, and the next drill tries again.
            logger.warning(
                "a drill's schema could not be dropped", extra={"schema": target.schema, "error": str(error)}
            )
        raise
    target.drop()
