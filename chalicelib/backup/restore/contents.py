"""Read a whole backup, for a verification and before a restore: check every byte, parse every statement."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from threading import Event, Lock

from chalicelib.backup.archive.encryption import Keys
from chalicelib.backup.archive.folder import VERIFIED, mark, unmark
from chalicelib.backup.archive.manifest import Manifest, Part, Table
from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.connection import quoted
from chalicelib.backup.progress import ProgressLogger, run_in_threads
from chalicelib.backup.restore.loading import RowLines
from chalicelib.backup.restore.statements import PROGRAMS, Statement, Statements, shorten
from chalicelib.core.errors import DamagedError, InvalidRequestError
from chalicelib.core.store import Store

OF_TABLES = frozenset({"SETTING", "TABLE", "SEQUENCE", "POSITION"})
OF_PROGRAMS = PROGRAMS | {"SETTING", "COLLATION"}


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The statements that create tables and programs, in order."""

    tables: Sequence[Statement]
    programs: Sequence[Statement]

    @property
    def definitions(self) -> Sequence[Statement]:
        """All statements."""
        return [*self.tables, *self.programs]

    def select(self, patterns: Sequence[str] | None, *, programs: bool) -> "Contents":
        """Return only the tables and sequences that match shell patterns, and the triggers of these tables.

        None selects everything; without `programs`, select only tables and sequences. Raises InvalidRequestError if no
        table matches.
        """
        if not programs:
            return Contents(tables=self.tables, programs=()).select(patterns, programs=True)
        if patterns is None:
            return self
        tables = [s for s in self.tables if not s.name or _matches(_unquoted(s.name), patterns)]
        if not any(statement.kind == "TABLE" for statement in tables):
            raise InvalidRequestError(f"the backup has no table that matches {' or '.join(patterns)}")
        triggers = [s for s in self.programs if not s.name or (s.table is not None and _matches(s.table, patterns))]
        return Contents(tables=tables, programs=triggers)

    def tables_of(self, manifest: Manifest) -> Sequence[Table]:
        """Return the manifest's tables that these statements create."""
        made = {statement.name for statement in self.tables if statement.kind == "TABLE"}
        return [table for table in manifest.tables if quoted(table.name) in made]


def read_contents(reader: Reader, *, rows: bool, threads: int, progress: Callable[[Part], None]) -> Contents:
    """Check a backup, or with `rows` false all of it but rows, and return its definitions.

    `progress` is called after each part in one of the threads; what it raises ends the reading and is raised here.
    Raises DamagedError for anything that no backup writes, TransientError.
    """
    wanted = [part for part in reader.manifest.parts if rows or part.kind != "rows"]
    definitions = _check_parts(reader, wanted, threads=threads, progress=progress)
    tables, programs = (
        [
            statement
            for part in reader.manifest.parts
            if part.kind == kind
            for statement in _only(kinds, definitions[part.name], part=reader.label(part))
        ]
        for kind, kinds in (("tables", OF_TABLES), ("programs", OF_PROGRAMS))
    )
    made = sorted(statement.name for statement in tables if statement.kind == "TABLE")
    if made != sorted(quoted(table.name) for table in reader.manifest.tables):
        raise DamagedError(
            f"backup {reader.manifest.id} is damaged: its manifest and definitions have different tables"
        )
    return Contents(tables=tables, programs=programs)


def _check_parts(
    reader: Reader, parts: Sequence[Part], *, threads: int, progress: Callable[[Part], None]
) -> dict[str, list[Statement]]:
    """Read parts in threads, and return the definitions in each. Raises DamagedError, TransientError."""
    definitions: dict[str, list[Statement]] = {}
    progress_logger = ProgressLogger("read", backup=reader.manifest.id, total=sum(part.plain_bytes for part in parts))

    def check_part(part: Part) -> None:
        definitions[part.name] = _check_part(reader, part)
        progress_logger.add(part.plain_bytes)
        progress(part)

    run_in_threads(parts, [check_part] * threads, stop=Event())
    return definitions


def _check_part(reader: Reader, part: Part) -> list[Statement]:
    """Read a part, and return its definitions. Raises DamagedError, TransientError."""
    text, name = reader.read(part), reader.label(part)
    if part.kind == "rows":
        count = RowLines(text, table=part.table or "", part=name).count()
        if count != part.rows:
            raise DamagedError(f"{name} is damaged: it has {count} rows, and the manifest says {part.rows}")
    elif part.kind == "sqlite":
        deque(text, maxlen=0)
    else:
        return list(Statements(b"".join(text), part=name))
    return []


def _only(kinds: Collection[str], statements: Sequence[Statement], *, part: str) -> Sequence[Statement]:
    for statement in statements:
        if statement.kind not in kinds:
            raise DamagedError(f"{part} is damaged: it has a statement of another part: {shorten(statement.text)}")
    return statements


def _unquoted(name: bytes) -> str:
    return name[1:-1].replace(b"``", b"`").decode(errors="replace")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


@dataclass(frozen=True, kw_only=True)
class VerifyResult:
    """What was verified."""

    parts: int
    rows: int
    stored_bytes: int
    plain_bytes: int


def verify(
    store: Store,
    id: str,
    *,
    keys: Keys,
    plain: bool,
    threads: int,
    progress: Callable[[int], None],
    done: int = 0,
) -> VerifyResult:
    """Verify a backup and mark it, or remove its mark if it is damaged.

    Arguments and errors are those of `Reader` and `check`.
    """
    try:
        reader = Reader(store, id=id, keys=keys, plain=plain)
        verified = check(reader, threads=threads, progress=progress, done=done)
    except DamagedError:
        # Retention relies on the mark.
        unmark(store, id, VERIFIED)
        raise
    mark(store, id, VERIFIED)
    return verified


def check(reader: Reader, *, threads: int, progress: Callable[[int], None], done: int = 0) -> VerifyResult:
    """Check every part: size, digest, encryption, compression, definitions, and number of rows.

    The first `done` parts were checked by an earlier call that ran out of time. `progress` is called after each part in
    one of the threads, with how many of the first parts are done; what it raises ends the check and is raised here.
    Raises DamagedError, TransientError.
    """
    manifest, lock = reader.manifest, Lock()
    unread = {part.name: number for number, part in enumerate(manifest.parts) if number >= done}

    def report(part: Part) -> None:
        with lock:
            del unread[part.name]
            first = min(unread.values(), default=len(manifest.parts))
        progress(first)

    _check_parts(reader, manifest.parts[done:], threads=threads, progress=report)
    return VerifyResult(
        parts=len(manifest.parts),
        rows=manifest.rows,
        stored_bytes=manifest.stored_bytes,
        plain_bytes=manifest.plain_bytes,
    )
