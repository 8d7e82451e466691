"""Whole backups: of a schema on a server, and made up."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import count
from typing import Any

import pymysql
from pymysql.constants import CLIENT
from sqlalchemy import make_url

from chalicelib.backup.archive import Archive
from chalicelib.backup.dump import Dump
from chalicelib.backup.folder import moment_of
from chalicelib.backup.keys import Key
from chalicelib.backup.manifest import Manifest, Part, PartKind, Position, Programs, Server, Table
from chalicelib.backup.plan import Plan
from chalicelib.backup.quoting import quoted
from chalicelib.backup.section import Section
from chalicelib.backup.snapshot import take
from chalicelib.store import Store
from tests.backup.archives import ID


def connector(url: str, *, schema: str | None = None, **options: Any) -> Callable[[], Any]:
    """Return what connects to a server as a deployment would."""
    address = make_url(url)
    where: dict[str, Any] = {"host": address.host, "port": address.port, "user": address.username, "ssl_disabled": True}
    return lambda: pymysql.connect(**where | {"database": schema, "client_flag": CLIENT.LOCAL_FILES} | options)


def back_up_schema(
    connect: Callable[[], Any], store: Store, *, key: Key | None = None, plan: Plan | None = None, id: str = ID
) -> Manifest:
    """Back up the schema that `connect` connects to, on one connection."""
    names = (f"{n:05}.sql" for n in count(1))
    plan = plan or Plan()
    with take(connect, plan=plan, connections=1) as snapshot, Archive(store, id=id, key=key) as archive:
        dump = Dump(snapshot, plan)
        parts = tuple(dump.write(lambda section: _write(archive, next(names), section)))
        counted = dump.counted
        manifest = Manifest(
            id=id,
            taken_at=moment_of(id),
            schema=snapshot.schema,
            server=Server(version=snapshot.version, charset=snapshot.charset, collation=snapshot.collation),
            position=None if snapshot.position is None else Position(**asdict(snapshot.position)),
            tables=tuple(
                Table(
                    name=table.name,
                    rows=counted[table.name].rows if table.name in counted else None,
                    checksum=counted[table.name].checksum if table.name in counted else None,
                )
                for table in dump.tables
            ),
            programs=Programs(
                views=len(dump.views),
                triggers=len(dump.triggers),
                routines=len(dump.routines),
                events=len(dump.events),
            ),
            parts=parts,
            key_id=None if key is None else key.id,
        )
        archive.finish(manifest)
    return manifest


def _write(archive: Archive, name: str, section: Section) -> Part:
    stored = archive.write(name, section.text)
    return Part.of(stored, kind=section.kind, table=section.table, rows=section.rows)


def definitions(*statements: bytes) -> bytes:
    """Write statements as a part of definitions has them."""
    return b"SET NAMES utf8mb4;\nDELIMITER $$\n" + b"".join(s + b"\n$$\n" for s in statements) + b"DELIMITER ;\n"


def rows_of(table: str, *rows: bytes, columns: bytes = b"`a`,`b`") -> bytes:
    """Write rows as a part of them has them."""
    return b"SET NAMES binary;\nINSERT INTO %b (%b) VALUES\n%b;\n" % (quoted(table), columns, b",\n".join(rows))


def write_backup(
    store: Store,
    *,
    tables: Sequence[bytes],
    rows: Sequence[tuple[str, int, bytes]],
    programs: Sequence[bytes] = (),
    key: Key | None = None,
    checksum: str | None = None,
) -> Manifest:
    """Write a backup of these statements, and of these texts of rows: their table, how many there are, and the text.

    The manifest tells of tables `t` and `u`, as far as there are statements, and `checksum` of each.
    """
    texts: list[tuple[PartKind, str | None, int | None, bytes]] = [("tables", None, None, definitions(*tables))]
    texts += [("rows", table, count, text) for table, count, text in rows]
    texts += [("programs", None, None, definitions(*programs))]
    counts = {name: sum(n for table, n, _ in rows if table == name) for name in ("t", "u")[: len(tables)]}
    with Archive(store, id=ID, key=key) as archive:
        parts = tuple(
            Part.of(archive.write(f"{n:05}.sql", [text]), kind=kind, table=table, rows=count)
            for n, (kind, table, count, text) in enumerate(texts, 1)
        )
        manifest = Manifest(
            id=ID,
            taken_at=moment_of(ID),
            schema="shop",
            server=Server(version="11.8.6-MariaDB", charset="utf8mb4", collation="utf8mb4_bin"),
            position=None,
            tables=tuple(Table(name=name, rows=count, checksum=checksum) for name, count in counts.items()),
            programs=Programs(triggers=sum(b" TRIGGER " in program for program in programs)),
            parts=parts,
            key_id=None if key is None else key.id,
        )
        archive.finish(manifest)
    return manifest
