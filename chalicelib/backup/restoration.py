"""The three steps of a restore, each noted in the schema's journal: tables, then rows, then programs."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from chalicelib.backup.comparing import compare_tables
from chalicelib.backup.contents import Contents
from chalicelib.backup.explained import DeniedError, explained
from chalicelib.backup.filling import Filling
from chalicelib.backup.journal import BEGUN, Journal
from chalicelib.backup.manifest import Part
from chalicelib.backup.quoting import quoted
from chalicelib.backup.reader import Reader
from chalicelib.backup.statement import Statement
from chalicelib.backup.target import Target
from chalicelib.backup.telling import Telling
from chalicelib.core.errors import ConfigurationError, PermanentError

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
