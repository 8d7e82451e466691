"""Back up and restore SQLite files."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from chalicelib.backup.archive.encryption import Keys
from chalicelib.backup.archive.folder import parse_id
from chalicelib.backup.archive.manifest import Manifest, Part, Programs, Server, Table
from chalicelib.backup.archive.parts import ArchiveWriter, Reader
from chalicelib.backup.restore.drill import DrillResult
from chalicelib.backup.restore.restore import RestoreResult
from chalicelib.core.errors import DamagedError, InvalidRequestError
from chalicelib.core.store import Store

CHUNK = 1 << 20
# SQLite would apply these files to the restored one.
SIDECARS = ("-wal", "-shm", "-journal")
TABLES = "FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*'"


def back_up_file(path: Path, store: Store, *, id: str, keys: Keys) -> Manifest:
    """Back up an SQLite file, even while other processes write to it. Raises TransientError."""
    with ArchiveWriter(store, id=id, key=keys.first) as archive, TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.sqlite"
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            tables = tuple(_count_rows(target))
        stored = archive.write("00001.sqlite", _read(copy))
        manifest = Manifest(
            id=id,
            taken_at=parse_id(id),
            schema=path.name,
            server=Server(version=f"SQLite {sqlite3.sqlite_version}"),
            position=None,
            tables=tables,
            programs=Programs(),
            parts=(Part.of(stored, kind="sqlite"),),
            key_id=None if keys.first is None else keys.first.id,
        )
        archive.finish(manifest)
    return manifest


def _count_rows(connection: sqlite3.Connection) -> Iterator[Table]:
    # Not virtual tables, whose extension may be missing here.
    for (name,) in connection.execute(f"SELECT name {TABLES} AND rootpage > 0").fetchall():
        quoted = name.replace('"', '""')
        [(rows,)] = connection.execute(f'SELECT COUNT(*) FROM "{quoted}"').fetchall()  # noqa: S608 (quoted)
        yield Table(name=name, rows=rows, checksum=None)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def restore_file(reader: Reader, path: Path, *, replace: bool, progress: Callable[[Part], None]) -> RestoreResult:
    """Restore a backup to a file; with `replace`, overwrite an existing file, which no process may have open.

    After any failure the file is either the old or the new one. Raises InvalidRequestError if the file exists or the
    backup is not of an SQLite file, DamagedError, TransientError, OSError.
    """
    sidecars = [path.with_name(path.name + ending) for ending in SIDECARS]
    if not replace and any(file.exists() and file.stat().st_size for file in (path, *sidecars)):
        raise InvalidRequestError(f"{path} exists: name another file, or use --replace")
    new = path.with_name(f".{path.name}.restoring")
    try:
        tables = _write(reader, new, progress)
        for file in sidecars:
            file.unlink(missing_ok=True)
        new.replace(path)
        _flush(path.parent)
    finally:
        new.unlink(missing_ok=True)
    return RestoreResult(
        schema=path.name, tables=tables, rows=reader.manifest.rows, is_resumed=False, broken=(), differences=()
    )


def drill_file(reader: Reader, *, progress: Callable[[Part], None]) -> DrillResult:
    """Restore a backup of a file to a temporary file. Raises as `restore_file`."""
    with TemporaryDirectory() as folder:
        tables = _write(reader, Path(folder) / "trial.sqlite", progress)
    return DrillResult(tables=tables, rows=reader.manifest.rows, broken=(), differences=())


def _write(reader: Reader, path: Path, progress: Callable[[Part], None]) -> int:
    """Write a backup to a file and return how many tables it has."""
    id = reader.manifest.id
    if [part.kind for part in reader.manifest.parts] != ["sqlite"]:
        raise InvalidRequestError(f"backup {id} is not of an SQLite file: restore it into a schema on a server")
    [part] = reader.manifest.parts
    with path.open("wb") as file:
        for chunk in reader.read(part):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    progress(part)
    try:
        # Immutable, or SQLite would create sidecar files. Nothing that the file defines is executed.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            connection.execute("PRAGMA trusted_schema = OFF")
            [(found,), *_] = connection.execute("PRAGMA integrity_check(1)").fetchall()
            [(tables,)] = connection.execute(f"SELECT COUNT(*) {TABLES}").fetchall()
    except sqlite3.DatabaseError as error:
        found, tables = str(error), 0
    if found != "ok":
        raise DamagedError(f"{part.name} of backup {id} is not a valid SQLite file: {found}")
    return int(tables)


def _flush(folder: Path) -> None:
    # So that the rename survives a power failure.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
