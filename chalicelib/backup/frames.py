"""Authenticated encryption of a stream in frames, none of which is used before it has proven itself.

The format is that of Tink's AesGcmHkdfStreaming with segments of 64 KiB: a header of 40 bytes (that number, a salt of
32, a nonce prefix of 7), then AES-256-GCM in frames of 64 KiB, the header counted into the first. The key is
HKDF-SHA256's of the secret, the salt and the associated data; a nonce is the prefix, the frame's number in 4 bytes, and
1 for the last frame, else 0. So nothing opens that was altered, moved, left out, cut off, added, or taken from another
stream.
"""

import os
from collections.abc import Iterable, Iterator
from typing import TypedDict

from chalicelib.backup.keys import hkdf
from chalicelib.core.errors import DamagedError

FRAME = 1 << 16
TAG = 16
SALT, PREFIX = 32, 7
HEADER = 1 + SALT + PREFIX


class Binding(TypedDict):
    """What whoever encrypts and whoever decrypts must give alike."""

    secret: bytes
    associated: bytes


def encrypt(chunks: Iterable[bytes], *, secret: bytes, associated: bytes) -> Iterator[bytes]:
    """Yield a stream, encrypted; who opens it must give the same secret of 32 bytes and the same associated data."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, prefix = os.urandom(SALT), os.urandom(PREFIX)
    cipher = AESGCM(hkdf(secret, salt=salt, info=associated))
    yield bytes([HEADER]) + salt + prefix
    for number, text, is_last in _cut(chunks, first=FRAME - HEADER - TAG, size=FRAME - TAG):
        yield cipher.encrypt(_nonce(prefix, number, is_last=is_last), text, None)


def decrypt(chunks: Iterable[bytes], *, secret: bytes, associated: bytes) -> Iterator[bytes]:
    """Yield what a stream says, frame by frame. Raises DamagedError."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher, prefix = None, b""
    for number, sealed, is_last in _cut(chunks, first=FRAME, size=FRAME):
        frame = sealed
        if cipher is None:
            header, frame = sealed[:HEADER], sealed[HEADER:]
            if len(header) < HEADER or header[0] != HEADER:
                raise DamagedError("it does not begin as what is encrypted does")
            prefix = header[1 + SALT :]
            cipher = AESGCM(hkdf(secret, salt=header[1 : 1 + SALT], info=associated))
        try:
            text = cipher.decrypt(_nonce(prefix, number, is_last=is_last), frame, None)
        except InvalidTag:
            raise DamagedError(f"its frame {number + 1} is not as it was encrypted") from None
        yield text


def _nonce(prefix: bytes, number: int, *, is_last: bool) -> bytes:
    # A number too large for its 4 bytes raises OverflowError, after 4 PiB: no nonce comes twice.
    return prefix + number.to_bytes(4, "big") + bytes([is_last])


def _cut(chunks: Iterable[bytes], *, first: int, size: int) -> Iterator[tuple[int, bytes, bool]]:
    held, wanted, number = bytearray(), first, 0
    for chunk in chunks:
        held += chunk
        # Not when it is just full: the last one has to be known as such.
        while len(held) > wanted:
            yield number, bytes(memoryview(held)[:wanted]), False
            del held[:wanted]
            wanted, number = size, number + 1
    yield number, bytes(held), True
