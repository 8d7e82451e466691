"""Restoring a backup into a schema: everything is read and judged before the first statement, and an end is no loss.

Whatever ends it, a process that is killed or a database that goes away, the same restore continues behind the last step
and the last parts that the schema's journal tells of.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from chalicelib.backup.archive.manifest import Manifest, Part
from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.connection import DeniedError, explained, quoted
from chalicelib.backup.progress import Telling
from chalicelib.backup.restore.comparing import compare_programs, compare_tables
from chalicelib.backup.restore.contents import Contents, read_contents
from chalicelib.backup.restore.loading import Filling
from chalicelib.backup.restore.screening import Limits, screen
from chalicelib.backup.restore.statements import RUNNING, Statement
from chalicelib.backup.restore.target import BEGUN, SYSTEM, Journal, Target, schemas_of
from chalicelib.core.errors import ConfigurationError, InvalidRequestError, PermanentError, TransientError

TABLES_MADE, PROGRAMS_MADE = "tables", "programs"
# They share their names.
_OF_TABLES = frozenset({"TABLE", "SEQUENCE", "VIEW"})


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A program that the server refused to make; `was_broken` says that it was so when it was backed up."""

    kind: str
    name: str
    reason: str
    was_broken: bool


class Restoration:
    """A restore under way; `notes` are the journal's when it began. Each step raises as `Target.connection`."""

    def __init__(
        self, reader: Reader, target: Target, contents: Contents, journal: Journal, notes: Mapping[str, Any]
    ) -> None:
        self._reader = reader
        self._target = target
        self._contents = contents
        self._journal = journal
        self._notes = notes

    def make_tables(self) -> None:
        """Make tables and sequences, in place of what has their names or the views'."""
        if TABLES_MADE in self._notes:
            return
        names = {statement.name for statement in self._contents.definitions if statement.kind in _OF_TABLES}
        self._target.remove(
            thing for thing in self._target.things() if thing.kind in _OF_TABLES and thing.name in names
        )
        self._target.collate(self._notes[BEGUN]["collation"])
        with self._target.connection() as connection:
            for statement in self._contents.tables:
                with explained(f"making {_called(statement)}"):
                    connection.query(statement.text)
            self._journal.note(connection, TABLES_MADE, {})
            connection.commit()

    def fill_tables(self, *, connections: int, progress: Callable[[Part], None]) -> None:
        """Load the rows that are not there, as `Filling`."""
        parts = defaultdict(list)
        made = {table.name for table in self._contents.tables_of(self._reader.manifest)}
        for part in self._reader.manifest.parts:
            if part.kind == "rows" and part.table in made:
                parts[part.table or ""].append(part)
        filling = Filling(self._reader, self._target, self._journal, parts)
        if TABLES_MADE in self._notes:
            filling.empty_half_filled()
        filling.fill(connections=connections, progress=progress)

    def make_programs(self, *, own: bool, events: bool) -> list[Broken]:
        """Make programs, in place of what has their names, and return those that the server refuses.

        `own` makes the user the definer of each, and `events` says whether those are made too.
        """
        broken = {each["name"]: Broken(**each) for each in self._notes.get(PROGRAMS_MADE, {}).get("broken", ())}
        if PROGRAMS_MADE not in self._notes:
            # A program keeps the schema's collation of its time; the text says where that changes from the backup's.
            self._target.collate(self._reader.manifest.server.collation or self._target.collation())
            with self._target.connection() as connection:
                for statement in self._contents.programs:
                    if events or statement.kind != "EVENT":
                        # A view may come twice: first another stands in for it.
                        broken.pop(_called(statement), None)
                        if (reason := _make(connection, statement, own=own)) is not None:
                            broken[_called(statement)] = self._broken(statement, reason)
                self._journal.note(connection, PROGRAMS_MADE, {"broken": [asdict(each) for each in broken.values()]})
                connection.commit()
        self._target.collate(self._notes[BEGUN]["collation"])
        return list(broken.values())

    def _broken(self, program: Statement, reason: str) -> Broken:
        was_broken = program.kind == "VIEW" and program.name in map(quoted, self._reader.manifest.broken_views)
        return Broken(kind=program.kind, name=_called(program), reason=reason, was_broken=was_broken)

    def compare(self, *, by_checksum: bool, connections: int) -> list[str]:
        """Return a sentence for each table that is not as the manifest says.

        Rows are counted; they are read and compared where `by_checksum` says so, and in tables that changed a value.
        """
        manifest, notes = self._reader.manifest, self._journal.read()
        tables = self._contents.tables_of(manifest)
        warned = {part.table for part in manifest.parts if part.table and notes.get(part.name, {}).get("warning")}
        summed = {table.name for table in tables} if by_checksum else warned
        rows = sum(table.rows or 0 for table in tables if table.name in summed)
        told = Telling("compared", backup=manifest.id, total=rows)
        return compare_tables(self._target, tables, by_checksum=summed, connections=connections, told=told)


def _make(connection: Any, program: Statement, *, own: bool) -> str | None:
    """Make a program, or return why the server refuses it: the others can be made without it."""
    try:
        with explained(f"making {_called(program)}"):
            if program.name:
                connection.query(b"DROP %b IF EXISTS %b" % (program.kind.encode(), program.name))
            connection.query(program.without_definer if own and program.name else program.text)
    except DeniedError as error:
        hint = "" if own else "; grant it, or say that this user is to be the definer"
        raise ConfigurationError(f"{error}{hint}") from error
    except PermanentError as error:
        # What comes after a setting would be made under another.
        if not program.name:
            raise
        return str(error)
    return None


def _called(statement: Statement) -> str:
    return f"the {statement.kind.lower()} {statement.name.decode(errors='replace')}".strip()


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
