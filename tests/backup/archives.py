"""Small backups in a bucket, written as a backup writes them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from chalicelib.backup.archive.encryption import Key, make_keys
from chalicelib.backup.archive.folder import parse_id
from chalicelib.backup.archive.manifest import Manifest, Part, PartKind, Programs, Server, Table
from chalicelib.backup.archive.parts import ArchiveWriter
from chalicelib.core.store import Store

ID = "20261125T010000Z-1a2b3c01"
OTHER_ID = "20261126T010000Z-4d5e6f01"
PLAIN = make_keys([])
KEYS = make_keys(["the first of the keys, which encrypts", "the second, which only decrypts"])
OTHER_KEYS = make_keys(["a key that nothing was encrypted with"])

HEAD = b"SET NAMES binary;\n"
END = b"DELIMITER ;\n"
TEXTS: Mapping[str, tuple[PartKind, list[bytes], int | None]] = {
    "00001.sql": ("tables", [HEAD, b"DELIMITER $$\n", b"CREATE TABLE `t` (`a` int, `b` text)\n$$\n", END], None),
    "00002.sql": ("rows", [HEAD, b"INSERT INTO `t` (`a`,`b`) VALUES\n(1,'x'),\n", b"(2,NULL);\n"], 2),
    "00003.sql": ("rows", [HEAD, b"INSERT INTO `t` (`a`,`b`) VALUES\n(3,'\\n(');\n"], 1),
    "00004.sql": ("programs", [HEAD, b"DELIMITER $$\n", b"CREATE VIEW `v` AS SELECT 1\n$$\n", END], None),
}


def write_parts(archive: ArchiveWriter, *, head: bytes = b"") -> list[Part]:
    """Write the parts, with more at the head of each."""
    return [
        Part.of(archive.write(name, [head, *chunks]), kind=kind, table="t" if kind == "rows" else None, rows=rows)
        for name, (kind, chunks, rows) in TEXTS.items()
    ]


def describe(id: str, parts: list[Part], *, key: Key | None, **changes: Any) -> Manifest:
    """Return the manifest of these parts."""
    manifest = Manifest(
        id=id,
        taken_at=parse_id(id),
        schema="shop",
        server=Server(version="11.8.6-MariaDB"),
        position=None,
        tables=(Table(name="t", rows=3, checksum="1f"),),
        programs=Programs(views=1),
        parts=tuple(parts),
        key_id=None if key is None else key.id,
    )
    return msgspec.structs.replace(manifest, **changes)


def back_up(store: Store, *, id: str = ID, key: Key | None, head: bytes = b"") -> Manifest:
    """Write a whole backup."""
    with ArchiveWriter(store, id=id, key=key) as archive:
        manifest = describe(id, write_parts(archive, head=head), key=key)
        archive.finish(manifest)
    return manifest


def id_of(moment: datetime, *, number: int = 0) -> str:
    """Return the id of some backup of a moment."""
    return f"{moment:%Y%m%dT%H%M%SZ}-{number:08x}"
