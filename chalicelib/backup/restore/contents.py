"""What a backup holds, as a restore reads it before it does anything: every byte is looked at, every statement read."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from fnmatch import fnmatchcase
from threading import Event, Lock

from chalicelib.backup.archive.encryption import Keys
from chalicelib.backup.archive.folder import VERIFIED, mark, unmark
from chalicelib.backup.archive.manifest import Manifest, Part, Table
from chalicelib.backup.archive.parts import Reader
from chalicelib.backup.connection import quoted
from chalicelib.backup.progress import Telling, share
from chalicelib.backup.restore.loading import Lines
from chalicelib.backup.restore.statements import PROGRAMS, Statement, Statements, shortened
from chalicelib.core.errors import DamagedError, InvalidRequestError
from chalicelib.core.store import Store

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
        name = reader.label(part)
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
            for statement in _only(kinds, definitions[part.name], part=reader.label(part))
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


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What was read back: parts, their rows, and their bytes in the bucket and as text."""

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
) -> Verified:
    """Read a backup back and mark it as verified, or take its mark away where it is damaged.

    Arguments and errors as of `Reader` and `check`.
    """
    try:
        reader = Reader(store, id=id, keys=keys, plain=plain)
        verified = check(reader, threads=threads, progress=progress, done=done)
    except DamagedError:
        # Retention trusts the mark.
        unmark(store, id, VERIFIED)
        raise
    mark(store, id, VERIFIED)
    return verified


def check(reader: Reader, *, threads: int, progress: Callable[[int], None], done: int = 0) -> Verified:
    """Read every part: sizes, digests, encryption, compression, definitions, and rows against the manifest.

    The first `done` parts were read by an earlier call that time ended. `progress` is called after each part in one of
    the threads, with how many of the first parts are read; what it raises ends the check and is raised here, so it may
    say that time is up. Raises DamagedError, TransientError.
    """
    manifest = reader.manifest
    wanted = list(enumerate(manifest.parts))[done:]
    told = Telling("read", backup=manifest.id, total=sum(part.plain_bytes for _, part in wanted))
    unread, lock = {number for number, _ in wanted}, Lock()

    def check_part(number: int, part: Part) -> None:
        text, name = reader.read(part), f"{part.name} of backup {manifest.id}"
        if part.kind == "sqlite":
            deque(text, maxlen=0)
        elif part.kind != "rows":
            deque(Statements(b"".join(text), part=name), maxlen=0)
        elif (rows := Lines(text, table=part.table or "", part=name).count()) != part.rows:
            raise DamagedError(f"{name} is damaged: it has {rows} rows, and the manifest says {part.rows}")
        told.add(part.plain_bytes)
        with lock:
            unread.discard(number)
            first = min(unread, default=len(manifest.parts))
        progress(first)

    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        parts = [pool.submit(check_part, number, part) for number, part in wanted]
        over, _ = wait(parts, return_when=FIRST_EXCEPTION)
        pool.shutdown(cancel_futures=True)
        for part in over:
            part.result()
    return Verified(
        parts=len(manifest.parts),
        rows=manifest.rows,
        stored_bytes=manifest.stored_bytes,
        plain_bytes=manifest.plain_bytes,
    )
