"""Write and read the parts of a backup: SQL text, compressed with zstd and encrypted if there is a key."""

import hashlib
import sys
from collections.abc import Iterable, Iterator, Sequence

from chalicelib.backup.archive.encryption import Key, Keys, decrypt, encrypt
from chalicelib.backup.archive.folder import MANIFEST, key_of, parse_id
from chalicelib.backup.archive.manifest import MAX_BYTES, Manifest, StoredPart, decode_manifest, encode_manifest
from chalicelib.core.errors import DamagedError, PermanentError, TransientError
from chalicelib.core.store import NotFoundError, Store, UploadPool
from chalicelib.core.telemetry import logger

# In the standard library from Python 3.14 on.
if sys.version_info >= (3, 14):
    from compression import zstd as zstd
else:
    from backports import zstd as zstd


LEVEL = 3
# Each zstd frame holds at least this much text. A single frame for all takes a third longer, because zstd then copies
# its input.
FRAME = 1 << 19
# The level needs a window of 2 MiB. A part that asks for more than decoders must support is not ours.
WINDOW_LOG = 23
# The most that one call of the decoder returns.
UNPACKED = 1 << 20


class PackedPart:
    """The stored bytes of a part's text; `stored` is known once it was iterated."""

    def __init__(self, chunks: Iterable[bytes], *, backup: str, name: str, key: Key | None) -> None:
        self._chunks, self._backup, self._name, self._key = chunks, backup, name, key
        self._digest = hashlib.sha256()
        self._plain_bytes = self._stored_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        stream = self._compressed()
        if self._key is not None:
            associated = _associated(self._backup, self._name)
            stream = encrypt(stream, secret=self._key.derive("parts"), associated=associated)
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
        # The last frame; the only one for an empty text.
        yield compressor.compress(held, mode=compressor.FLUSH_FRAME)

    @property
    def stored(self) -> StoredPart:
        """Its entry for the manifest."""
        return StoredPart(
            name=self._name,
            plain_bytes=self._plain_bytes,
            stored_bytes=self._stored_bytes,
            sha256=self._digest.hexdigest(),
        )


def unpack(chunks: Iterable[bytes], part: StoredPart, *, backup: str, key: Key | None) -> Iterator[bytes]:
    """Yield the text of a part. Raises DamagedError; without a key, perhaps only after the last byte."""
    stream = _checked(chunks, part)
    if key is not None:
        associated = _associated(backup, part.name)
        stream = decrypt(stream, secret=key.derive("parts"), associated=associated)
    yield from _decompressed(stream, part.plain_bytes)


def _associated(backup: str, name: str) -> bytes:
    return f"{backup}/{name}".encode()


def _checked(chunks: Iterable[bytes], part: StoredPart) -> Iterator[bytes]:
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        size += len(chunk)
        if size > part.stored_bytes:
            raise DamagedError(f"it is longer than the {part.stored_bytes} bytes that were stored")
        yield chunk
    if size < part.stored_bytes:
        raise DamagedError(f"it has {size} of the {part.stored_bytes} bytes that were stored")
    if digest.hexdigest() != part.sha256:
        raise DamagedError("its SHA-256 does not match")


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
                raise DamagedError(f"its text is longer than the expected {size} bytes")
            yield text
    if left or not decompressor.eof:
        raise DamagedError(f"its text has {size - left} of the expected {size} bytes")


def _decompressor() -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG})


class ArchiveWriter:
    """Writes one backup as a context manager; an error deletes what was written."""

    def __init__(self, store: Store, *, id: str, key: Key | None) -> None:
        parse_id(id)
        self.id, self.key = id, key
        self._store = store
        self._pool = UploadPool()
        self._written: list[str] = []

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.close()
        if kind is not None:
            self._discard()

    def write(self, name: str, chunks: Iterable[bytes]) -> StoredPart:
        """Store a part, such as 00001.sql, and return its final name and sizes. Thread-safe.

        Raises TransientError, and what `chunks` raise; then nothing of the part remains.
        """
        name = f"{name}.zst" if self.key is None else f"{name}.zst.enc"
        packing = PackedPart(chunks, backup=self.id, name=name, key=self.key)
        # Record it before the upload, because the answer to a successful upload may be lost.
        self._written.append(name)
        self._store.upload(key_of(self.id, name), packing, content_type="application/octet-stream", pool=self._pool)
        return packing.stored

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest, which completes the backup. Raises TransientError, DamagedError."""
        content = encode_manifest(manifest, key=self.key)
        self._written.append(MANIFEST)
        self._store.put(key_of(self.id, MANIFEST), content, content_type="application/json")

    def _discard(self) -> None:
        try:
            refused: object = delete_objects(self._store, self.id, self._written)
        except TransientError as error:
            refused = str(error)
        if refused:
            # The original error matters more, and pruning removes the rest.
            logger.warning("failed backup could not be deleted", extra={"backup": self.id, "error": refused})


def delete_objects(store: Store, id: str, names: Sequence[str]) -> dict[str, str]:
    """Delete objects of a backup, and return by key why S3 refused. Raises TransientError.

    Delete the manifest first, so that an interruption never leaves a backup that lacks parts.
    """
    first = [key_of(id, name) for name in names if name == MANIFEST]
    refused = store.delete(first)
    return refused or store.delete([key_of(id, name) for name in names if name != MANIFEST])


class Reader:
    """Reads one backup; thread-safe."""

    def __init__(self, store: Store, *, id: str, keys: Keys, plain: bool) -> None:
        """Read the manifest.

        If there are keys, `plain` must allow an unencrypted backup, because anyone who can write to the bucket could
        have made it. Raises InvalidRequestError for an invalid id, NotFoundError, PermanentError if its key is missing
        or its format is unknown, DamagedError, TransientError.
        """
        parse_id(id)
        try:
            content = _read_at_most(store.read(key_of(id, MANIFEST)), MAX_BYTES)
        except NotFoundError:
            raise NotFoundError(f"there is no complete backup {id}; run `nightshift backup list`") from None
        if content is None:
            raise DamagedError(f"the manifest of backup {id} has more than {MAX_BYTES:,} bytes; use another backup")
        self.manifest, self._key = decode_manifest(content, id=id, keys=keys)
        if self._key is None and keys.all and not plain:
            raise PermanentError(
                f"the backup {id} is not encrypted although BACKUP_KEY is set, so anyone who can write to the bucket "
                "could have made it; if you trust it, repeat with --plain"
            )
        self._store = store

    def read(self, part: StoredPart) -> Iterator[bytes]:
        """Yield a part's text as it was written.

        Raises DamagedError, TransientError. Encrypted text is authenticated before it is yielded. Without a key, the
        digest is checked only at the end: commit nothing before.
        """
        id = self.manifest.id
        chunks = self._store.read(key_of(id, part.name))
        try:
            yield from unpack(chunks, part, backup=id, key=self._key)
        except NotFoundError:
            raise DamagedError(f"{self.label(part)} is missing; use another backup") from None
        except DamagedError as error:
            raise DamagedError(f"{self.label(part)} is damaged: {error}; use another backup") from None

    def label(self, part: StoredPart) -> str:
        """Return how messages refer to a part."""
        return f"{part.name} of backup {self.manifest.id}"


def _read_at_most(chunks: Iterator[bytes], most: int) -> bytes | None:
    """Return the content, or None if it is longer than `most`."""
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > most:
            return None
    return bytes(content)
