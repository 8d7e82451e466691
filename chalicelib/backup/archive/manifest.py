"""The manifest of a backup: what it contains. It is written last; a folder without a manifest is not a backup.

Without a key, the first line is the manifest as JSON and the second its SHA-256. With a key, the first line has only
the format and the key's id, and the rest is encrypted like the parts, because names, row counts and checksums reveal
something about the rows.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from chalicelib.backup.archive.encryption import Key, Keys, decrypt, encrypt
from chalicelib.backup.archive.folder import MANIFEST, is_part_name
from chalicelib.core.errors import DamagedError, PermanentError

# The version of the format; others are refused.
VERSION = 2
# Manifest and definitions are read into memory. A manifest of 16 MiB lists 80,000 parts, or 5 TB of text.
MAX_BYTES = 16 << 20
MAX_DEFINITION_BYTES = 64 << 20

PartKind = Literal["tables", "rows", "programs", "sqlite"]


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class StoredPart(_Record, frozen=True, kw_only=True):
    """A stored object: its sizes before and after compression and encryption, and its SHA-256."""

    name: str
    plain_bytes: int
    stored_bytes: int
    sha256: str


class Part(StoredPart, frozen=True, kw_only=True):
    """A part of the dump; only parts of the kind `rows` have `table` and `rows`."""

    kind: PartKind
    table: str | None = None
    rows: int | None = None

    @classmethod
    def of(cls, stored: StoredPart, *, kind: PartKind, table: str | None = None, rows: int | None = None) -> "Part":
        """Return the part that a stored object holds."""
        return cls(**msgspec.structs.asdict(stored), kind=kind, table=table, rows=rows)


class Table(_Record, frozen=True, kw_only=True):
    """A table; `rows` and `checksum` are null if only its definition was taken. SQLite has no `checksum`."""

    name: str
    rows: int | None
    checksum: str | None


class Server(_Record, frozen=True, kw_only=True):
    """The server that the backup was taken from."""

    version: str
    charset: str | None = None
    collation: str | None = None
    time_zone: str | None = None
    sql_mode: str | None = None


class Position(_Record, frozen=True, kw_only=True):
    """The position in the server's binary log at the time of the backup."""

    gtid: str | None = None
    file: str | None = None
    offset: int | None = None


class Programs(_Record, frozen=True, kw_only=True):
    """The number of programs of each kind."""

    views: int = 0
    triggers: int = 0
    routines: int = 0
    events: int = 0


class Manifest(_Record, frozen=True, kw_only=True):
    """The content of a backup; `parts` are in loading order, and `key_id` is null if it is not encrypted.

    `broken_views` were unusable when the backup was taken, and may fail to restore.
    """

    version: int = VERSION
    id: str
    taken_at: Annotated[datetime, msgspec.Meta(tz=True)]
    schema: str
    server: Server
    position: Position | None
    tables: tuple[Table, ...]
    programs: Programs
    broken_views: tuple[str, ...] = ()
    parts: tuple[Part, ...]
    key_id: str | None

    @property
    def rows(self) -> int:
        """The number of rows in all tables."""
        return sum(table.rows or 0 for table in self.tables)

    @property
    def plain_bytes(self) -> int:
        """The size of the dump's text."""
        return sum(part.plain_bytes for part in self.parts)

    @property
    def stored_bytes(self) -> int:
        """The size of the parts in the bucket."""
        return sum(part.stored_bytes for part in self.parts)


class _Head(msgspec.Struct):
    version: int
    key_id: str | None = None


def encode_manifest(manifest: Manifest, *, key: Key | None) -> bytes:
    """Return the stored form of a manifest. Raises DamagedError if it contradicts itself or is too long."""
    _check(manifest)
    text = msgspec.json.encode(manifest)
    if key is None:
        content = text + b"\n" + _digest_of(text)
    else:
        head = msgspec.json.encode(_Head(version=manifest.version, key_id=key.id))
        content = (
            head + b"\n" + b"".join(encrypt([text], secret=key.derive("manifest"), associated=_associated(manifest.id)))
        )
    if len(content) > MAX_BYTES:
        raise DamagedError(f"its manifest has {len(content):,} bytes, and a restore reads at most {MAX_BYTES:,}")
    return content


def decode_manifest(content: bytes, *, id: str, keys: Keys) -> tuple[Manifest, Key | None]:
    """Return the manifest of the backup with this id, and the key that encrypted it.

    Raises DamagedError if it was altered or is another backup's, PermanentError if the key is missing or the format is
    unknown.
    """
    line, _, rest = content.partition(b"\n")
    try:
        head = msgspec.json.decode(line, type=_Head)
        if head.version != VERSION:
            raise PermanentError(_explain_version(head.version, id=id))
        key = None if head.key_id is None else _find(head.key_id, id=id, keys=keys)
        if key is not None:
            line = b"".join(decrypt([rest], secret=key.derive("manifest"), associated=_associated(id)))
        elif rest != _digest_of(line):
            raise DamagedError("its SHA-256 does not match")
        manifest = msgspec.json.decode(line, type=Manifest)
        if (manifest.id, manifest.version, manifest.key_id) != (id, head.version, head.key_id):
            raise DamagedError(f"it belongs to the backup {manifest.id}")
        _check(manifest)
    except (DamagedError, ValueError, RecursionError) as error:
        raise DamagedError(f"the manifest of backup {id} is damaged: {error}; use another backup") from None
    return manifest, key


def _explain_version(version: int, *, id: str) -> str:
    if version > VERSION:
        return f"the backup {id} has format {version}, and this code reads {VERSION}; update Nightshift"
    return (
        f"the backup {id} has format {version}, and this code reads {VERSION}; restore it with the release that made it"
    )


def _find(key_id: str, *, id: str, keys: Keys) -> Key:
    key = keys.find(key_id)
    if key is None:
        raise PermanentError(
            f"the backup {id} is encrypted with the key {key_id}, but BACKUP_KEY has {keys}; add it there"
        )
    return key


def _digest_of(text: bytes) -> bytes:
    return b"sha256 %s\n" % hashlib.sha256(text).hexdigest().encode()


def _associated(id: str) -> bytes:
    return f"{id}/{MANIFEST}".encode()


def _check(manifest: Manifest) -> None:
    # Anyone who can write to the bucket could have made a manifest without a key.
    names = [part.name for part in manifest.parts]
    if len(set(names)) != len(names) or not all(map(is_part_name, names)):
        raise DamagedError("its parts have invalid or duplicate names")
    if any(name.endswith(".enc") is (manifest.key_id is None) for name in names):
        raise DamagedError("the names of its parts contradict its key")
    if len({table.name for table in manifest.tables}) < len(manifest.tables):
        raise DamagedError("it lists a table twice")
    counted = {table.name: 0 for table in manifest.tables if table.rows is not None}
    for part in manifest.parts:
        if part.kind == "rows":
            if part.table not in counted or part.rows is None:
                raise DamagedError(f"it does not list the table of {part.name}")
            counted[part.table] += part.rows
    definitions = sum(part.plain_bytes for part in manifest.parts if part.kind in {"tables", "programs"})
    if definitions > MAX_DEFINITION_BYTES:
        raise DamagedError(
            f"its definitions have {definitions:,} bytes, and a restore reads at most {MAX_DEFINITION_BYTES:,}"
        )
    # The single part of an SQLite file holds all tables.
    is_file = [part.kind for part in manifest.parts] == ["sqlite"]
    if not is_file and any(table.rows is not None and counted[table.name] != table.rows for table in manifest.tables):
        raise DamagedError("the rows of its parts do not add up to those of its tables")
