"""The manifest of a backup: what it holds. It is written last: no manifest, no backup.

Its first line is JSON. Without a key that line is all, and one with its SHA-256 follows. With a key the line has the
format and the key's id, and the rest is encrypted as the parts are: names, row counts and checksums say something of
the rows.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from chalicelib.backup.archive import encryption as frames
from chalicelib.backup.archive.encryption import Key, Keys
from chalicelib.backup.archive.folder import MANIFEST, is_part
from chalicelib.core.errors import DamagedError, PermanentError

# Of the format: any other is refused.
VERSION = 2
# Both are read into memory as a whole. A manifest of 16 MiB lists 80,000 parts, which is 5 TB of text.
MOST_BYTES = 16 << 20
MOST_DEFINITION_BYTES = 64 << 20

PartKind = Literal["tables", "rows", "programs", "sqlite"]


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Stored(_Record, frozen=True, kw_only=True):
    """An object: its bytes before and after compression and encryption, and the SHA-256 of the latter."""

    name: str
    plain_bytes: int
    stored_bytes: int
    sha256: str


class Part(Stored, frozen=True, kw_only=True):
    """A part of the dump; `table` and `rows` are those of a part of the kind `rows`."""

    kind: PartKind
    table: str | None = None
    rows: int | None = None

    @classmethod
    def of(cls, stored: Stored, *, kind: PartKind, table: str | None = None, rows: int | None = None) -> "Part":
        """Return the part that an object holds."""
        return cls(**msgspec.structs.asdict(stored), kind=kind, table=table, rows=rows)


class Table(_Record, frozen=True, kw_only=True):
    """A table; `rows` and `checksum` are null where only its definition was taken, the latter also in a file."""

    name: str
    rows: int | None
    checksum: str | None


class Server(_Record, frozen=True, kw_only=True):
    """The server that the backup was taken from, as it described itself."""

    version: str
    charset: str | None = None
    collation: str | None = None
    time_zone: str | None = None
    sql_mode: str | None = None


class Position(_Record, frozen=True, kw_only=True):
    """Where the server's log stood at the moment of the backup."""

    gtid: str | None = None
    file: str | None = None
    offset: int | None = None


class Programs(_Record, frozen=True, kw_only=True):
    """How many there are of each."""

    views: int = 0
    triggers: int = 0
    routines: int = 0
    events: int = 0


class Manifest(_Record, frozen=True, kw_only=True):
    """A backup: `schema` is the database's name, `parts` are in the order of loading, `key_id` is null for no key.

    `broken_views` could not be used when it was made, so that perhaps they cannot be made again.
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
        """The rows of all tables."""
        return sum(table.rows or 0 for table in self.tables)

    @property
    def plain_bytes(self) -> int:
        """The bytes of the dump."""
        return sum(part.plain_bytes for part in self.parts)

    @property
    def stored_bytes(self) -> int:
        """The bytes of the parts in the bucket."""
        return sum(part.stored_bytes for part in self.parts)


class _Head(msgspec.Struct):
    version: int
    key_id: str | None = None


def seal(manifest: Manifest, *, key: Key | None) -> bytes:
    """Return the manifest as it is stored. Raises DamagedError for one that contradicts itself or is too long."""
    _check(manifest)
    text = msgspec.json.encode(manifest)
    if key is None:
        content = text + b"\n" + _digest_of(text)
    else:
        head = msgspec.json.encode(_Head(version=manifest.version, key_id=key.id))
        content = head + b"\n" + b"".join(frames.encrypt([text], **_bound(manifest.id, key)))
    if len(content) > MOST_BYTES:
        raise DamagedError(f"its manifest has {len(content):,} bytes, and a restore reads {MOST_BYTES:,}")
    return content


def unseal(content: bytes, *, id: str, keys: Keys) -> tuple[Manifest, Key | None]:
    """Return the manifest of the backup with this id, and the key that encrypted it.

    Raises DamagedError where it is not what was written for that backup, PermanentError where the key is missing or
    this code does not read the format.
    """
    line, _, rest = content.partition(b"\n")
    try:
        head = msgspec.json.decode(line, type=_Head)
        if head.version != VERSION:
            raise PermanentError(_why_not(head.version, id=id))
        key = None if head.key_id is None else _find(head.key_id, id=id, keys=keys)
        if key is not None:
            line = b"".join(frames.decrypt([rest], **_bound(id, key)))
        elif rest != _digest_of(line):
            raise DamagedError("its SHA-256 is another")
        manifest = msgspec.json.decode(line, type=Manifest)
        if (manifest.id, manifest.version, manifest.key_id) != (id, head.version, head.key_id):
            raise DamagedError(f"it belongs to the backup {manifest.id}")
        _check(manifest)
    except (DamagedError, ValueError, RecursionError) as error:
        raise DamagedError(f"the manifest of backup {id} is damaged: {error}; use another backup") from None
    return manifest, key


def _why_not(version: int, *, id: str) -> str:
    if version > VERSION:
        return f"the backup {id} has format {version}, and this code reads {VERSION}; update it"
    return (
        f"the backup {id} has format {version}, and this code reads {VERSION}; restore it with the release that made it"
    )


def _find(key_id: str, *, id: str, keys: Keys) -> Key:
    key = keys.find(key_id)
    if key is None:
        raise PermanentError(
            f"the backup {id} is encrypted with the key {key_id}, and BACKUP_KEY has {keys}; add it there"
        )
    return key


def _digest_of(text: bytes) -> bytes:
    return b"sha256 %s\n" % hashlib.sha256(text).hexdigest().encode()


def _bound(id: str, key: Key) -> frames.Binding:
    return {"secret": key.derive("manifest"), "associated": f"{id}/{MANIFEST}".encode()}


def _check(manifest: Manifest) -> None:
    # A manifest without a key proves nothing about who wrote it.
    names = [part.name for part in manifest.parts]
    if len(set(names)) != len(names) or not all(map(is_part, names)):
        raise DamagedError("its parts are not named as parts are")
    if any(name.endswith(".enc") is (manifest.key_id is None) for name in names):
        raise DamagedError("its parts are not encrypted as it says")
    if len({table.name for table in manifest.tables}) < len(manifest.tables):
        raise DamagedError("it has two tables of one name")
    counted = {table.name: 0 for table in manifest.tables if table.rows is not None}
    for part in manifest.parts:
        if part.kind == "rows":
            if part.table not in counted or part.rows is None:
                raise DamagedError(f"it has no table for the rows of {part.name}")
            counted[part.table] += part.rows
    definitions = sum(part.plain_bytes for part in manifest.parts if part.kind in {"tables", "programs"})
    if definitions > MOST_DEFINITION_BYTES:
        raise DamagedError(f"its definitions have {definitions:,} bytes, and a restore reads {MOST_DEFINITION_BYTES:,}")
    # The one part of a file is all of its tables.
    is_file = [part.kind for part in manifest.parts] == ["sqlite"]
    if not is_file and any(table.rows is not None and counted[table.name] != table.rows for table in manifest.tables):
        raise DamagedError("its parts do not have the rows that its tables have")
