"""Whole backups: of a schema on a server, and made up."""

from collections.abc import Callable, Sequence
from typing import Any

import pymysql
from pymysql.constants import CLIENT
from sqlalchemy import make_url

from chalicelib.backup.archive.encryption import Key, Keys
from chalicelib.backup.archive.folder import parse_id
from chalicelib.backup.archive.manifest import Manifest, Part, PartKind, Programs, Server, Table
from chalicelib.backup.archive.parts import ArchiveWriter
from chalicelib.backup.connection import quoted
from chalicelib.backup.dump.dump import back_up_schema
from chalicelib.backup.dump.scope import Plan
from chalicelib.core.store import Store
from tests.backup.archives import ID, PLAIN


def connector(url: str, *, schema: str | None = None, **options: Any) -> Callable[[], Any]:
    """Return what connects to a server as a deployment would."""
    address = make_url(url)
    where: dict[str, Any] = {"host": address.host, "port": address.port, "user": address.username, "ssl_disabled": True}
    return lambda: pymysql.connect(**where | {"database": schema, "client_flag": CLIENT.LOCAL_FILES} | options)


def back_up(connect: Callable[[], Any], store: Store, *, id: str = ID, keys: Keys = PLAIN) -> Manifest:
    """Back up the schema that `connect` connects to."""
    return back_up_schema(connect, store, id=id, keys=keys, plan=Plan(), connections=2, progress=lambda _: None)


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
    with ArchiveWriter(store, id=ID, key=key) as archive:
        parts = tuple(
            Part.of(archive.write(f"{n:05}.sql", [text]), kind=kind, table=table, rows=count)
            for n, (kind, table, count, text) in enumerate(texts, 1)
        )
        manifest = Manifest(
            id=ID,
            taken_at=parse_id(ID),
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
