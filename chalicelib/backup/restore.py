"""Restoring a backup into a schema: everything is read and judged before the first statement, and an end is no loss.

Whatever ends it, a process that is killed or a database that goes away, the same restore continues behind the last step
and the last parts that the schema's journal tells of.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from chalicelib.backup.comparing import compare_programs
from chalicelib.backup.contents import Contents, read_contents
from chalicelib.backup.journal import BEGUN, Journal
from chalicelib.backup.manifest import Manifest, Part
from chalicelib.backup.quoting import quoted
from chalicelib.backup.reader import Reader
from chalicelib.backup.restoration import Broken, Restoration
from chalicelib.backup.screening import Limits, screen
from chalicelib.backup.statement import RUNNING
from chalicelib.backup.target import SYSTEM, Target, schemas_of
from chalicelib.core.errors import InvalidRequestError, PermanentError, TransientError


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked of a restore into a schema, which is made where it does not exist.

    `tables` are patterns as a shell has them: only tables of such names, with their triggers. `replace` says that what
    has the backup's names may go. `elsewhere` allows definitions to reach what lies outside of the schema. `programs`
    is True to restore the routines, triggers and events of a backup without a key and to trust its definitions, False
    to restore tables and rows alone. `own` makes the database user the definer of everything. `by_checksum` has all
    rows read and compared.
    """

    schema: str
    tables: Sequence[str] | None
    replace: bool
    elsewhere: bool
    programs: bool | None
    own: bool
    by_checksum: bool
    connections: int


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What was restored; `differences` are sentences, none where the schema has what the manifest says.

    `broken` are the programs without which it was restored.
    """

    schema: str
    tables: int
    rows: int
    is_resumed: bool
    broken: Sequence[Broken]
    differences: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Called after each part that was checked, and loaded; what either raises ends the restore, to be continued."""

    checked: Callable[[Part], None]
    loaded: Callable[[Part], None]


def restore(reader: Reader, connect: Callable[[], Any], request: Request, *, progress: Progress) -> Restored:
    """Restore a backup; `connect` connects to the server, with CLIENT.LOCAL_FILES for rows to go as streams.

    Raises DamagedError, InvalidRequestError where the schema holds something or nothing is to be restored, and
    PermanentError for what definitions may not do: all before anything was changed. Raises TransientError,
    ConfigurationError for a privilege that is missing, PermanentError: the same restore continues.
    """
    target = Target(connect, schema=request.schema)
    manifest = reader.manifest
    journal = Journal(target, avoiding={quoted(table.name) for table in manifest.tables})
    schemas = schemas_of(connect)
    # So that nobody waits for a refusal; what counts is the look when nobody else can begin one.
    is_resumed = request.schema in schemas and bool(_look(target, journal, request, manifest))
    # What begun restores have in their journal was read whole before, and each part is judged again as it is loaded.
    contents = read_contents(reader, rows=not is_resumed, threads=request.connections, progress=progress.checked)
    contents = contents.chosen(request.tables, programs=request.programs is not False)
    limits = _limits(request, manifest, schemas)
    if not limits.is_trusted:
        _refuse_running(contents, manifest)
    screen(contents.definitions, limits)
    with target.alone():
        if request.schema not in schemas:
            target.create()
        notes = _look(target, journal, request, manifest)
        if is_resumed and not notes:
            raise TransientError(f"the restore into {request.schema} was ended by another one; do the same again")
        if not notes:
            is_empty = not [thing for thing in target.things() if thing != journal.thing]
            collation = (manifest.server.collation if is_empty else None) or target.collation()
            notes = journal.begin(_identity(manifest, request) | {"collation": collation})
        restoration = Restoration(reader, target, contents, journal, notes)
        restoration.make_tables()
        restoration.fill_tables(connections=request.connections, progress=progress.loaded)
        broken = restoration.make_programs(own=request.own, events=True)
        differences = restoration.compare(by_checksum=request.by_checksum, connections=request.connections)
        if request.tables is None and request.programs is not False and not request.replace:
            differences += compare_programs(target, manifest.programs, broken=[each.kind for each in broken])
        journal.remove()
    tables = contents.tables_of(manifest)
    return Restored(
        schema=request.schema,
        tables=len(tables),
        rows=sum(table.rows or 0 for table in tables),
        is_resumed=is_resumed,
        broken=broken,
        differences=differences,
    )


def _limits(request: Request, manifest: Manifest, schemas: set[str]) -> Limits:
    is_sealed = manifest.key_id is not None
    is_trusted = is_sealed or request.programs is True
    # What names the schema that it comes from would have a copy write to the original.
    foreign = {manifest.schema} if is_sealed else schemas | SYSTEM | {manifest.schema}
    foreign = {schema.lower() for schema in foreign - {request.schema}}

    def is_foreign(schema: str) -> bool:
        if request.elsewhere:
            return False
        return schema.lower() in foreign if is_trusted else schema != request.schema

    return Limits(is_trusted=is_trusted, is_foreign=is_foreign)


def _refuse_running(contents: Contents, manifest: Manifest) -> None:
    counts = Counter(program.kind.lower() for program in contents.programs if program.kind in RUNNING)
    if counts:
        found = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in sorted(counts.items()))
        raise PermanentError(
            f"the backup {manifest.id} is not encrypted, so that whoever may write to the bucket could have made it, "
            f"and has programs that run with their definers' rights ({found}): say that programs are to be restored, "
            "if you know it to be yours, or that they are to be left out"
        )


def _look(target: Target, journal: Journal, request: Request, manifest: Manifest) -> dict[str, Any]:
    """Return the notes of this very restore, none where it is to begin. Raises InvalidRequestError."""
    things = target.things()
    notes = journal.read() if journal.thing in things else {}
    if begun := notes.get(BEGUN):
        if begun.items() >= _identity(manifest, request).items():
            return notes
        if not request.replace:
            raise InvalidRequestError(
                f"{target.schema} holds a restore of backup {begun['backup']} that is not complete: ask for the same "
                "again to complete it, or say that what is there may be replaced"
            )
    elif not request.replace and (others := [thing for thing in things if thing != journal.thing]):
        raise InvalidRequestError(
            f"{target.schema} is not empty, it holds {others[0]}: restore into another schema, or say that what is "
            "there under the names of the backup may be replaced"
        )
    return {}


def _identity(manifest: Manifest, request: Request) -> dict[str, Any]:
    """Return what tells a restore from others."""
    digest = hashlib.sha256(msgspec.json.encode(manifest)).hexdigest()
    tables = None if request.tables is None else list(request.tables)
    return {"backup": manifest.id, "digest": digest, "tables": tables}
