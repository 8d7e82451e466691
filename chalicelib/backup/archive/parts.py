"""What becomes of a part on its way to the bucket and back: zstd, and where there is a key, encryption around it."""

import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence

from chalicelib.backup.archive import encryption as frames
from chalicelib.backup.archive.encryption import Key, Keys
from chalicelib.backup.archive.folder import MANIFEST, key_of, moment_of
from chalicelib.backup.archive.manifest import MOST_BYTES, Manifest, Stored, seal, unseal
from chalicelib.core.errors import DamagedError, PermanentError, TransientError
from chalicelib.core.store import NotFoundError, Store, UploadPool
from chalicelib.core.telemetry import logger

# In the standard library from Python 3.14 on.
if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd


LEVEL = 3
# Bytes of text, at least, that are compressed at once into a frame of their own. As one frame for all they take a third
# longer, since then zstd copies them, and looks back over the seam of its copies.
FRAME = 1 << 19
# That level looks back on 2 MiB; a text that asks for more memory than every decoder has is not ours.
WINDOW_LOG = 23
# Bytes that come out of the decoder at once, however few went in.
UNPACKED = 1 << 20


class Packing:
    """A part on its way out; when it has been iterated, `stored` is known."""

    def __init__(self, chunks: Iterable[bytes], *, backup: str, name: str, key: Key | None) -> None:
        self._chunks, self._backup, self._name, self._key = chunks, backup, name, key
        self._digest = hashlib.sha256()
        self._plain_bytes = self._stored_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        stream = self._compressed()
        if self._key is not None:
            associated = _associated(self._backup, self._name)
            stream = frames.encrypt(stream, secret=self._key.derive("parts"), associated=associated)
        for chunk in stream:
            self._digest.update(chunk)
            self._stored_bytes += len(chunk)
            yield chunk

    def _compressed(self) -> Iterator[bytes]:
        parameter = zstd.CompressionParameter
        compressor = zstd.ZstdCompressor(options={parameter.compression_level: LEVEL, parameter.checksum_flag: 1})
        held = b""
        for chunk in self._chunks:
            self._plain_bytes += len(chunk)
            held += chunk
            if len(held) >= FRAME:
                yield compressor.compress(held, mode=compressor.FLUSH_FRAME)
                held = b""
        # The last one, and where there is no text at all the only one.
        yield compressor.compress(held, mode=compressor.FLUSH_FRAME)

    @property
    def stored(self) -> Stored:
        """What the manifest says of it."""
        return Stored(
            name=self._name,
            plain_bytes=self._plain_bytes,
            stored_bytes=self._stored_bytes,
            sha256=self._digest.hexdigest(),
        )


def unpack(chunks: Iterable[bytes], part: Stored, *, backup: str, key: Key | None) -> Iterator[bytes]:
    """Yield the text of a part. Raises DamagedError, for an altered one without a key perhaps only at its end."""
    stream = _checked(chunks, part)
    if key is not None:
        associated = _associated(backup, part.name)
        stream = frames.decrypt(stream, secret=key.derive("parts"), associated=associated)
    yield from _decompressed(stream, part.plain_bytes)


def _associated(backup: str, name: str) -> bytes:
    return f"{backup}/{name}".encode()


def _checked(chunks: Iterable[bytes], part: Stored) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        if size > part.stored_bytes:
            raise DamagedError(f"it has more than the {part.stored_bytes} bytes that were stored")
        yield chunk
    if size < part.stored_bytes:
        raise DamagedError(f"it has {size} of the {part.stored_bytes} bytes that were stored")
    if digest.hexdigest() != part.sha256:
        raise DamagedError("its SHA-256 is not that of what was stored")


def _decompressed(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    decompressor, left = _decompressor(), size
    for chunk in chunks:
        packed = chunk
        while packed or not (decompressor.needs_input or decompressor.eof):
            if decompressor.eof:
                decompressor = _decompressor()
            try:
                text = decompressor.decompress(packed, max_length=UNPACKED)
            except zstd.ZstdError as error:
                raise DamagedError(f"it cannot be decompressed: {error}") from None
            packed = decompressor.unused_data
            left -= len(text)
            if left < 0:
                raise DamagedError(f"its text is longer than the {size} bytes that it had")
            yield text
    if left or not decompressor.eof:
        raise DamagedError(f"its text has {size - left} of the {size} bytes that it had")


def _decompressor() -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})


class Archive:
    """Written in a `with`; an error in it takes away again what was written."""

    def __init__(self, store: Store, *, id: str, key: Key | None) -> None:
        moment_of(id)
        self.id, self.key = id, key
        self._store = store
        self._pool = UploadPool()
        self._written: list[str] = []

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.close()
        if kind is not None:
            self._take_away()

    def write(self, name: str, chunks: Iterable[bytes]) -> Stored:
        """Store a part, such as 00001.sql, under the name that is returned; several threads may do so at once.

        Raises TransientError where S3 fails, and what `chunks` raise; nothing of the part remains then.
        """
        name = f"{name}.zst" if self.key is None else f"{name}.zst.enc"
        packing = Packing(chunks, backup=self.id, name=name, key=self.key)
        # Before it is: the answer to a success may be lost.
        self._written.append(name)
        self._store.upload(key_of(self.id, name), packing, content_type="application/octet-stream", pool=self._pool)
        return packing.stored

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, which makes it a backup. Raises TransientError, DamagedError where it cannot be true."""
        content = seal(manifest, key=self.key)
        self._written.append(MANIFEST)
        self._store.put(key_of(self.id, MANIFEST), content, content_type="application/json")

    def _take_away(self) -> None:
        try:
            refused: object = delete(self._store, self.id, self._written)
        except TransientError as error:
            refused = str(error)
        if refused:
            # The error on its way out says more, and pruning removes what is left.
            logger.warning("a failed backup could not be taken away", extra={"backup": self.id, "error": refused})


def delete(store: Store, id: str, names: Sequence[str]) -> dict[str, str]:
    """Delete objects of a backup, the manifest first, and return by key why S3 refused. Raises TransientError.

    Whatever ends it early, what is left is no backup any more; with the manifest last it would be one that lacks parts.
    """
    first = [key_of(id, name) for name in names if name == MANIFEST]
    refused = store.delete(first)
    return refused or store.delete([key_of(id, name) for name in names if name != MANIFEST])


class Reader:
    """Reads one backup; several threads may at once."""

    def __init__(self, store: Store, *, id: str, keys: Keys, plain: bool) -> None:
        """Read the manifest.

        With keys, a backup without is read only where `plain` says so: whoever may write to the bucket could have made
        it. Raises InvalidRequestError for what is no id, NotFoundError where there is no such backup, PermanentError
        where its key is missing or this code does not read its format, DamagedError, TransientError.
        """
        moment_of(id)
        try:
            content = _read_at_most(store.read(key_of(id, MANIFEST)), MOST_BYTES)
        except NotFoundError:
            raise NotFoundError(f"there is no finished backup {id}; list them to see which there are") from None
        if content is None:
            raise DamagedError(f"the manifest of backup {id} has more than {MOST_BYTES:,} bytes; use another backup")
        self.manifest, self._key = unseal(content, id=id, keys=keys)
        if self._key is None and keys.all and not plain:
            raise PermanentError(
                f"the backup {id} is not encrypted although BACKUP_KEY is set, so that whoever may write to the bucket "
                "could have made it; if you know it to be yours, say that a plain one is meant"
            )
        self._store = store

    def read(self, part: Stored) -> Iterator[bytes]:
        """Yield a part's text as it was written.

        Raises DamagedError, TransientError. What was encrypted is yielded only when it has proven itself; of another
        part nothing may be done for good before the iteration has ended, since only then its digest is known.
        """
        id = self.manifest.id
        chunks = self._store.read(key_of(id, part.name))
        try:
            yield from unpack(chunks, part, backup=id, key=self._key)
        except NotFoundError:
            raise DamagedError(f"{self.label(part)} is missing; use another backup") from None
        except DamagedError as error:
            raise DamagedError(f"{self.label(part)} is damaged: {error}; use another backup") from None

    def label(self, part: Stored) -> str:
        """Return what messages call a part."""
        return f"{part.name} of backup {self.manifest.id}"


def _read_at_most(chunks: Iterator[bytes], most: int) -> bytes | None:
    """Return the content, None where there is more of it."""
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > most:
            return None
    return bytes(content)
