"""What a backup holds, as a restore reads it before it does anything: every byte is looked at, every statement read."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from threading import Event

from chalicelib.backup.lines import Lines
from chalicelib.backup.manifest import Manifest, Part, Table
from chalicelib.backup.quoting import quoted
from chalicelib.backup.reader import Reader
from chalicelib.backup.sharing import share
from chalicelib.backup.statement import PROGRAMS, Statement, Statements, shortened
from chalicelib.backup.telling import Telling
from chalicelib.core.errors import DamagedError, InvalidRequestError

OF_TABLES = frozenset({"SETTING", "TABLE", "SEQUENCE", "POSITION"})
OF_PROGRAMS = PROGRAMS | {"SETTING", "COLLATION"}


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The statements that make tables and programs, in order."""

    tables: Sequence[Statement]
    programs: Sequence[Statement]

    @property
    def definitions(self) -> Sequence[Statement]:
        """All statements."""
        return [*self.tables, *self.programs]

    def chosen(self, patterns: Sequence[str] | None, *, programs: bool) -> "Contents":
        """Return it with only the tables and sequences of such names, and these tables' triggers.

        Patterns are as a shell has them, None for everything; without `programs` there are only tables and sequences.
        Raises InvalidRequestError where there is no such table.
        """
        if not programs:
            return Contents(tables=self.tables, programs=()).chosen(patterns, programs=True)
        if patterns is None:
            return self
        tables = [s for s in self.tables if not s.name or _matches(_unquoted(s.name), patterns)]
        if not any(statement.kind == "TABLE" for statement in tables):
            raise InvalidRequestError(f"the backup has no table like {' or '.join(patterns)}")
        chosen = [s for s in self.programs if not s.name or (s.table is not None and _matches(s.table, patterns))]
        return Contents(tables=tables, programs=chosen)

    def tables_of(self, manifest: Manifest) -> Sequence[Table]:
        """Return those of the manifest's tables that these statements make."""
        made = {statement.name for statement in self.tables if statement.kind == "TABLE"}
        return [table for table in manifest.tables if quoted(table.name) in made]


def read_contents(reader: Reader, *, rows: bool, threads: int, progress: Callable[[Part], None]) -> Contents:
    """Read all of a backup, or with `rows` false all but these, and return its definitions.

    `progress` is called after each part in one of the threads; what it raises ends the reading and is raised here.
    Raises DamagedError for whatever is not as a backup writes it, TransientError.
    """
    definitions: dict[str, list[Statement]] = {}
    wanted = [part for part in reader.manifest.parts if rows or part.kind != "rows"]
    told = Telling("read", backup=reader.manifest.id, total=sum(part.plain_bytes for part in wanted))

    def read(part: Part) -> None:
        name = name_of(reader, part)
        if part.kind == "rows":
            count = Lines(reader.read(part), table=part.table or "", part=name).count()
            if count != part.rows:
                raise DamagedError(f"{name} is damaged: it has {count} rows, and the manifest says {part.rows}")
        else:
            definitions[part.name] = list(Statements(b"".join(reader.read(part)), part=name))
        told.add(part.plain_bytes)
        progress(part)

    share(wanted, [read] * threads, stop=Event())
    tables, programs = (
        [
            statement
            for part in reader.manifest.parts
            if part.kind == kind
            for statement in _only(kinds, definitions[part.name], part=name_of(reader, part))
        ]
        for kind, kinds in (("tables", OF_TABLES), ("programs", OF_PROGRAMS))
    )
    made = sorted(statement.name for statement in tables if statement.kind == "TABLE")
    if made != sorted(quoted(table.name) for table in reader.manifest.tables):
        raise DamagedError(f"backup {reader.manifest.id} is damaged: its manifest has other tables than it makes")
    return Contents(tables=tables, programs=programs)


def _only(kinds: Collection[str], statements: Sequence[Statement], *, part: str) -> Sequence[Statement]:
    for statement in statements:
        if statement.kind not in kinds:
            raise DamagedError(f"{part} is damaged: it has what belongs elsewhere: {shortened(statement.text)}")
    return statements


def _unquoted(name: bytes) -> str:
    return name[1:-1].replace(b"``", b"`").decode(errors="replace")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def name_of(reader: Reader, part: Part) -> str:
    """Return what to call a part in a message."""
    return f"{part.name} of backup {reader.manifest.id}"
