"""What becomes of a part on its way to the bucket and back: zstd, and where there is a key, encryption around it."""

import hashlib
from collections.abc import Iterable, Iterator

from chalicelib.backup import frames
from chalicelib.backup.keys import Key
from chalicelib.backup.manifest import Stored
from chalicelib.backup.zstandard import zstd
from chalicelib.core.errors import DamagedError

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
