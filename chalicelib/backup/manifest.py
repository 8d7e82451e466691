"""The manifest of a backup: what it holds, under a seal. It is written last: no manifest, no backup."""

import hashlib
import hmac
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from chalicelib.backup.folder import is_part
from chalicelib.backup.keys import Key, Keys
from chalicelib.errors import DamagedError, PermanentError

# Of the format: what is newer is refused.
VERSION = 1

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
    """A backup: `schema` is the database's name, `parts` are in the order of loading, `key_id` is null for no key."""

    version: int = VERSION
    id: str
    taken_at: Annotated[datetime, msgspec.Meta(tz=True)]
    schema: str
    server: Server
    position: Position | None
    tables: tuple[Table, ...]
    programs: Programs
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
    """Return a line of JSON and one that seals it. Raises DamagedError for a manifest that contradicts itself."""
    _check(manifest)
    text = msgspec.json.encode(manifest) + b"\n"
    return text + _seal_of(text, key=key)


def unseal(content: bytes, *, id: str, keys: Keys) -> tuple[Manifest, Key | None]:
    """Return the manifest of the backup with this id, and the key that encrypted it.

    Raises DamagedError where it is not what was written for that backup, PermanentError where the key is missing or
    the format is newer than this code.
    """
    text, newline, mark = content.partition(b"\n")
    try:
        head = msgspec.json.decode(text, type=_Head)
        key = None if head.key_id is None else _find(head.key_id, id=id, keys=keys)
        if not hmac.compare_digest(mark, _seal_of(text + newline, key=key)):
            raise DamagedError("the seal is not that of the text")
        # After the seal, which is the same in every version.
        if head.version > VERSION:
            raise PermanentError(f"the backup {id} has format {head.version}, and this code reads {VERSION}; update it")
        manifest = msgspec.json.decode(text, type=Manifest)
        if manifest.id != id:
            raise DamagedError(f"it belongs to the backup {manifest.id}")
        _check(manifest)
    except (DamagedError, ValueError, RecursionError) as error:
        raise DamagedError(f"the manifest of backup {id} is damaged: {error}; use another backup") from None
    return manifest, key


def _find(key_id: str, *, id: str, keys: Keys) -> Key:
    key = keys.find(key_id)
    if key is None:
        raise PermanentError(
            f"the backup {id} is encrypted with the key {key_id}, and BACKUP_KEY has {keys}; add it there"
        )
    return key


def _seal_of(text: bytes, *, key: Key | None) -> bytes:
    if key is None:
        return b"sha256 %s\n" % hashlib.sha256(text).hexdigest().encode()
    return b"hmac-sha256 %s\n" % hmac.new(key.derive("manifest"), text, hashlib.sha256).hexdigest().encode()


def _check(manifest: Manifest) -> None:
    # A seal without a key proves nothing about who wrote it.
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
    # The one part of a file is all of its tables.
    is_file = [part.kind for part in manifest.parts] == ["sqlite"]
    if not is_file and any(table.rows is not None and counted[table.name] != table.rows for table in manifest.tables):
        raise DamagedError("its parts do not have the rows that its tables have")
