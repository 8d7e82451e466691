"""Restore a backup into a schema, in three steps recorded in the schema's journal: tables, then rows, then programs.

The whole backup is checked before the first change. After a failure or a kill at any moment, the same restore continues
after the last recorded step and part.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from threading import Event
from typing import Any

import msgspec

from chalicelib.backup.archive.manifest import Manifest, Part, Programs, Table
from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.connection import prepare_session, query_bytes, query_text, quoted
from chalicelib.backup.dump.rows import Rows
from chalicelib.backup.dump.tables import read_tables
from chalicelib.backup.progress import ProgressLogger, run_in_threads
from chalicelib.backup.restore.contents import Contents, read_contents
from chalicelib.backup.restore.loading import RowLoader
from chalicelib.backup.restore.screening import Limits, screen
from chalicelib.backup.restore.statements import RUNNING, Statement
from chalicelib.backup.restore.target import BEGUN, SYSTEM, Journal, Target, list_schemas
from chalicelib.core.errors import ConfigurationError, InvalidRequestError, PermanentError, TransientError
from chalicelib.core.server_errors import MissingPrivilegeError, translate_errors

TABLES_MADE, PROGRAMS_MADE = "tables", "programs"
_KINDS = {"VIEW": "views", "TRIGGER": "triggers", "EVENT": "events"}
_COUNTED_IN = {
    "views": b"VIEWS WHERE TABLE_SCHEMA=DATABASE()",
    "triggers": b"TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()",
    "routines": b"ROUTINES WHERE ROUTINE_SCHEMA=DATABASE()",
    "events": b"EVENTS WHERE EVENT_SCHEMA=DATABASE()",
}
# These share one namespace.
_OF_TABLES = frozenset({"TABLE", "SEQUENCE", "VIEW"})


@dataclass(frozen=True, kw_only=True)
class BrokenProgram:
    """A program that the server refused to create; `was_broken` is whether it was already broken in the backup."""

    kind: str
    name: str
    reason: str
    was_broken: bool


class Restoration:
    """The steps of a restore; `notes` are the journal's at its start. Each step raises as `Target.connection`."""

    def __init__(
        self, reader: Reader, target: Target, contents: Contents, journal: Journal, notes: Mapping[str, Any]
    ) -> None:
        self._reader = reader
        self._target = target
        self._contents = contents
        self._journal = journal
        self._notes = notes

    def create_tables(self) -> None:
        """Create tables and sequences, replacing objects with their names or the views'."""
        if TABLES_MADE in self._notes:
            return
        names = {statement.name for statement in self._contents.definitions if statement.kind in _OF_TABLES}
        self._target.drop_objects(
            each for each in self._target.objects() if each.kind in _OF_TABLES and each.name in names
        )
        self._target.set_collation(self._notes[BEGUN]["collation"])
        with self._target.connection() as connection:
            for statement in self._contents.tables:
                with translate_errors(f"creating {_describe(statement)}"):
                    connection.query(statement.text)
            self._journal.note(connection, TABLES_MADE, {})
            connection.commit()

    def load_tables(self, *, connections: int, progress: Callable[[Part], None]) -> None:
        """Load the rows that are not loaded yet, as `RowLoader`."""
        parts = defaultdict(list)
        made = {table.name for table in self._contents.tables_of(self._reader.manifest)}
        for part in self._reader.manifest.parts:
            if part.kind == "rows" and part.table in made:
                parts[part.table or ""].append(part)
        loader = RowLoader(self._reader, self._target, self._journal, parts)
        if TABLES_MADE in self._notes:
            loader.truncate_partial_tables()
        loader.load(connections=connections, progress=progress)

    def create_programs(self, *, set_definer: bool, events: bool) -> list[BrokenProgram]:
        """Create programs, replacing existing ones, and return those that the server refuses.

        `set_definer` makes the user the definer of each, and `events` is whether to create events too.
        """
        broken = {each["name"]: BrokenProgram(**each) for each in self._notes.get(PROGRAMS_MADE, {}).get("broken", ())}
        if PROGRAMS_MADE not in self._notes:
            # A program keeps the schema's collation of its creation; the text sets it where it differs.
            self._target.set_collation(self._reader.manifest.server.collation or self._target.collation())
            with self._target.connection() as connection:
                for statement in self._contents.programs:
                    if events or statement.kind != "EVENT":
                        # A view can come twice: the first is a placeholder.
                        broken.pop(_describe(statement), None)
                        if (reason := _create_program(connection, statement, set_definer=set_definer)) is not None:
                            broken[_describe(statement)] = self._broken(statement, reason)
                self._journal.note(connection, PROGRAMS_MADE, {"broken": [asdict(each) for each in broken.values()]})
                connection.commit()
        self._target.set_collation(self._notes[BEGUN]["collation"])
        return list(broken.values())

    def _broken(self, program: Statement, reason: str) -> BrokenProgram:
        was_broken = program.kind == "VIEW" and program.name in map(quoted, self._reader.manifest.broken_views)
        return BrokenProgram(kind=program.kind, name=_describe(program), reason=reason, was_broken=was_broken)

    def compare(self, *, by_checksum: bool, connections: int) -> list[str]:
        """Return a sentence for each table whose rows differ from the manifest.

        Count rows, and compare checksums, which takes as long as a backup, with `by_checksum` and of tables for which
        the server warned.
        """
        manifest, notes = self._reader.manifest, self._journal.read()
        tables = self._contents.tables_of(manifest)
        warned = {part.table for part in manifest.parts if part.table and notes.get(part.name, {}).get("warning")}
        summed = {table.name for table in tables if table.checksum and (by_checksum or table.name in warned)}
        total = sum(table.rows or 0 for table in tables if table.name in summed)
        progress = ProgressLogger("compared", backup=manifest.id, total=total)
        differences: list[str] = []
        with ExitStack() as stack:
            together = [stack.enter_context(self._target.connection()) for _ in range(connections)]
            for connection in together:
                prepare_session(connection)
            found = {table.name: table for table in read_tables(together[0], self._target.schema)}
            [(packet,)] = query_bytes(together[0], b"SELECT @@max_allowed_packet")

            def compare(connection: Any, wanted: Table) -> None:
                if wanted.name not in found:
                    differences.append(f"the table {wanted.name} is missing")
                elif wanted.name in summed:
                    rows = Rows(connection, found[wanted.name], packet=packet)
                    differences.extend(_compare_checksum(rows, wanted, progress))
                elif wanted.rows is not None:
                    [(count,)] = query_bytes(connection, b"SELECT COUNT(*) FROM " + quoted(wanted.name))
                    differences.extend(_compare_count(count, wanted))

            run_in_threads(tables, [partial(compare, connection) for connection in together], stop=Event())
        return sorted(differences)


def _compare_checksum(rows: Rows, wanted: Table, progress: ProgressLogger) -> Iterator[str]:
    before = 0
    for _ in rows.statements():
        progress.add(rows.count - before)
        before = rows.count
    if rows.count == wanted.rows and rows.checksum != wanted.checksum:
        yield f"the rows of {wanted.name} differ from the backup"
    yield from _compare_count(rows.count, wanted)


def _compare_count(count: int, wanted: Table) -> Iterator[str]:
    if count != wanted.rows:
        yield f"{wanted.name} has {count} rows, and the backup {wanted.rows}"


def _create_program(connection: Any, program: Statement, *, set_definer: bool) -> str | None:
    """Create a program, or return why the server refuses it."""
    try:
        with translate_errors(f"creating {_describe(program)}"):
            if program.name:
                connection.query(b"DROP %b IF EXISTS %b" % (program.kind.encode(), program.name))
            connection.query(program.without_definer if set_definer and program.name else program.text)
    except MissingPrivilegeError as error:
        hint = "" if set_definer else "; grant it, or repeat with --set-definer"
        raise ConfigurationError(f"{error}{hint}") from error
    except PermanentError as error:
        # Without this setting, the next programs would be created under another one.
        if not program.name:
            raise
        return str(error)
    return None


def _describe(statement: Statement) -> str:
    return f"the {statement.kind.lower()} {statement.name.decode(errors='replace')}".strip()


def compare_programs(target: Target, programs: Programs, *, broken: Collection[str]) -> list[str]:
    """Return a sentence for each kind of program whose number differs. Raises as `Target.connection`.

    `broken` are the kinds of programs that could not be created.
    """
    differences = []
    missing = Counter(_KINDS.get(kind, "routines") for kind in broken)
    with target.connection() as connection:
        for kind, place in _COUNTED_IN.items():
            [(count,)] = query_text(connection, b"SELECT COUNT(*) FROM information_schema." + place)
            if count + missing[kind] != getattr(programs, kind):
                differences.append(f"there are {count} {kind}, and {getattr(programs, kind)} in the backup")
    return differences


@dataclass(frozen=True, kw_only=True)
class RestoreRequest:
    """What to restore into a schema, which is created if it does not exist.

    `tables` are shell patterns: restore only tables of such names, and their triggers. `replace` overwrites existing
    objects. `allow_cross_schema` allows definitions to refer to other schemas. `programs` is True to trust a backup
    without a key and restore its routines, triggers and events, False to restore only tables and rows. `set_definer`
    makes the database user the definer of all programs. `by_checksum` compares the checksums of all rows.
    """

    schema: str
    tables: Sequence[str] | None
    replace: bool
    allow_cross_schema: bool
    programs: bool | None
    set_definer: bool
    by_checksum: bool
    connections: int


@dataclass(frozen=True, kw_only=True)
class RestoreResult:
    """What was restored; `differences` has a sentence for each difference from the manifest.

    `broken` are the programs that are missing.
    """

    schema: str
    tables: int
    rows: int
    is_resumed: bool
    broken: Sequence[BrokenProgram]
    differences: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class RestoreProgress:
    """Called after each part that was checked or loaded; what they raise ends the restore, which can be continued."""

    checked: Callable[[Part], None]
    loaded: Callable[[Part], None]


def restore(
    reader: Reader, connect: Callable[[], Any], request: RestoreRequest, *, progress: RestoreProgress
) -> RestoreResult:
    """Restore a backup; `connect` connects to the server, with CLIENT.LOCAL_FILES to allow streams of rows.

    Before any change, raises DamagedError, InvalidRequestError if the schema is not empty or no table matches, and
    PermanentError for a forbidden definition. Later, raises TransientError, PermanentError, and ConfigurationError for
    a missing privilege; then the same restore continues.
    """
    target = Target(connect, schema=request.schema)
    manifest = reader.manifest
    journal = Journal(target, avoiding={quoted(table.name) for table in manifest.tables})
    schemas = list_schemas(connect)
    # Fail early. The check that counts is the one under the lock.
    is_resumed = request.schema in schemas and bool(_read_notes(target, journal, request, manifest))
    # An interrupted restore has checked the whole backup, and each part is checked again when it is loaded.
    contents = read_contents(reader, rows=not is_resumed, threads=request.connections, progress=progress.checked)
    contents = contents.select(request.tables, programs=request.programs is not False)
    limits = _limits(request, manifest, schemas)
    if not limits.is_trusted:
        _refuse_programs(contents, manifest)
    screen(contents.definitions, limits)
    with target.lock():
        if request.schema not in schemas:
            target.create()
        notes = _read_notes(target, journal, request, manifest)
        if is_resumed and not notes:
            raise TransientError(f"the restore into {request.schema} was ended by another one; try again")
        if not notes:
            is_empty = not [each for each in target.objects() if each != journal.table]
            collation = (manifest.server.collation if is_empty else None) or target.collation()
            notes = journal.begin(_identity(manifest, request) | {"collation": collation})
        restoration = Restoration(reader, target, contents, journal, notes)
        restoration.create_tables()
        restoration.load_tables(connections=request.connections, progress=progress.loaded)
        broken = restoration.create_programs(set_definer=request.set_definer, events=True)
        differences = restoration.compare(by_checksum=request.by_checksum, connections=request.connections)
        if request.tables is None and request.programs is not False and not request.replace:
            differences += compare_programs(target, manifest.programs, broken=[each.kind for each in broken])
        journal.remove()
    tables = contents.tables_of(manifest)
    return RestoreResult(
        schema=request.schema,
        tables=len(tables),
        rows=sum(table.rows or 0 for table in tables),
        is_resumed=is_resumed,
        broken=broken,
        differences=differences,
    )


def _limits(request: RestoreRequest, manifest: Manifest, schemas: set[str]) -> Limits:
    is_sealed = manifest.key_id is not None
    is_trusted = is_sealed or request.programs is True
    # A definition that names the original schema would make a copy write to it.
    foreign = {manifest.schema} if is_sealed else schemas | SYSTEM | {manifest.schema}
    foreign = {schema.lower() for schema in foreign - {request.schema}}

    def is_foreign(schema: str) -> bool:
        if request.allow_cross_schema:
            return False
        return schema.lower() in foreign if is_trusted else schema != request.schema

    return Limits(is_trusted=is_trusted, is_foreign=is_foreign)


def _refuse_programs(contents: Contents, manifest: Manifest) -> None:
    counts = Counter(program.kind.lower() for program in contents.programs if program.kind in RUNNING)
    if counts:
        found = ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in sorted(counts.items()))
        raise PermanentError(
            f"the backup {manifest.id} is not encrypted, so anyone who can write to the bucket could have made it, "
            f"and it has programs that run with their definers' rights ({found}): if you trust it, repeat with "
            "--programs, or leave them out with --no-programs"
        )


def _read_notes(target: Target, journal: Journal, request: RestoreRequest, manifest: Manifest) -> dict[str, Any]:
    """Return the notes of this restore, empty if it has not started. Raises InvalidRequestError."""
    objects = target.objects()
    notes = journal.read() if journal.table in objects else {}
    if begun := notes.get(BEGUN):
        if begun.items() >= _identity(manifest, request).items():
            return notes
        if not request.replace:
            raise InvalidRequestError(
                f"{target.schema} has an incomplete restore of backup {begun['backup']}: repeat the same restore to "
                "complete it, or use --replace to overwrite it"
            )
    elif not request.replace and (others := [each for each in objects if each != journal.table]):
        raise InvalidRequestError(
            f"{target.schema} is not empty, it has {others[0]}: restore into another schema, or use --replace to "
            "overwrite existing objects"
        )
    return {}


def _identity(manifest: Manifest, request: RestoreRequest) -> dict[str, Any]:
    """Return what identifies a restore in its journal."""
    digest = hashlib.sha256(msgspec.json.encode(manifest)).hexdigest()
    tables = None if request.tables is None else list(request.tables)
    return {"backup": manifest.id, "digest": digest, "tables": tables}
