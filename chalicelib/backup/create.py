"""Create a backup: stream a snapshot's SQL text to the archive, then write the manifest."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from chalicelib.backup.archive.encryption import Keys
from chalicelib.backup.archive.folder import parse_id
from chalicelib.backup.archive.manifest import Manifest, Part, Position, Programs, Server, Table
from chalicelib.backup.archive.parts import ArchiveWriter
from chalicelib.backup.dump.scope import Plan
from chalicelib.backup.dump.snapshot import Snapshot, take_snapshot
from chalicelib.backup.dump.writer import Dump, Section
from chalicelib.backup.progress import ProgressLogger
from chalicelib.core.server_errors import translate_errors
from chalicelib.core.store import Store
from chalicelib.core.telemetry import logger

CHUNK = 1 << 20


def back_up_schema(
    connect: Callable[[], Any],
    store: Store,
    *,
    id: str,
    keys: Keys,
    plan: Plan,
    connections: int,
    progress: Callable[[Part], None],
) -> Manifest:
    """Back up the schema that `connect` connects to; `progress` is called after each part and may raise.

    A failed backup leaves no manifest. Raises TransientError, ConfigurationError, PermanentError.
    """
    # Thread-safe, unlike a generator.
    numbers = count(1)
    with (
        translate_errors("reading the database"),
        take_snapshot(connect, plan=plan, connections=connections) as snapshot,
    ):
        dump, progress_logger = Dump(snapshot, plan), ProgressLogger("written", backup=id, total=None)
        with ArchiveWriter(store, id=id, key=keys.first) as archive:

            def write(section: Section) -> Part:
                stored = archive.write(f"{next(numbers):05}.sql", section.text)
                part = Part.of(stored, kind=section.kind, table=section.table, rows=section.rows)
                progress_logger.add(part.plain_bytes)
                progress(part)
                return part

            parts = dump.write(write)
            manifest = _manifest(id, snapshot, dump, parts, keys)
            archive.finish(manifest)
    if dump.broken_views:
        # A restore cannot create a view that refers to a missing table.
        logger.warning("the schema has broken views", extra={"backup": id, "views": dump.broken_views})
    return manifest


def _manifest(id: str, snapshot: Snapshot, dump: Dump, parts: list[Part], keys: Keys) -> Manifest:
    return Manifest(
        id=id,
        taken_at=parse_id(id),
        schema=snapshot.schema,
        server=Server(
            version=snapshot.version,
            charset=snapshot.charset,
            collation=snapshot.collation,
            time_zone=snapshot.time_zone,
            sql_mode=snapshot.sql_mode,
        ),
        position=None if snapshot.position is None else Position(**asdict(snapshot.position)),
        tables=tuple(_table(table.name, dump) for table in dump.tables),
        programs=Programs(
            views=len(dump.views),
            triggers=len(dump.triggers),
            routines=len(dump.routines),
            events=len(dump.events),
        ),
        broken_views=tuple(dump.broken_views),
        parts=tuple(parts),
        key_id=None if keys.first is None else keys.first.id,
    )


def _table(name: str, dump: Dump) -> Table:
    counted = dump.counted.get(name)
    if counted is None:
        return Table(name=name, rows=None, checksum=None)
    return Table(name=name, rows=counted.rows, checksum=counted.checksum)


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
    # Not SQLite's own tables, nor virtual tables, whose extension may be missing here.
    of_tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'sqlite_*' AND rootpage > 0"
    for (name,) in connection.execute(of_tables).fetchall():
        quoted = name.replace('"', '""')
        [(rows,)] = connection.execute(f'SELECT COUNT(*) FROM "{quoted}"').fetchall()  # noqa: S608 (quoted)
        yield Table(name=name, rows=rows, checksum=None)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
