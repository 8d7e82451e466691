"""Keys, and authenticated encryption of a stream in frames.

The format is Tink's AesGcmHkdfStreaming with segments of 64 KiB: a header of 40 bytes (that number, a salt of 32, a
nonce prefix of 7), then AES-256-GCM in frames of 64 KiB, the first of which includes the header. The key is HKDF-SHA256
of the secret, the salt and the associated data. A nonce is the prefix, the frame's number in 4 bytes, and 1 for the
last frame, else 0. Decryption fails for frames that were altered, reordered, dropped, truncated, appended, or taken
from another stream.
"""

import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from chalicelib.core.errors import DamagedError


@dataclass(frozen=True, kw_only=True)
class Key:
    """A secret from which a key for each purpose is derived."""

    # Not in the representation, which a traceback may show.
    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Its name in manifests, 8 hexadecimal digits."""
        return self.derive("id").hex()[:8]

    def derive(self, purpose: str) -> bytes:
        """Return the derived key of 32 bytes for a purpose."""
        return hkdf(self.secret, salt=b"", info=f"nightshift backup {purpose}".encode())


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys in BACKUP_KEY: the first encrypts, all decrypt. Without any, only the bucket's encryption applies."""

    all: tuple[Key, ...]

    @property
    def first(self) -> Key | None:
        """The key for new backups."""
        return self.all[0] if self.all else None

    def find(self, key_id: str) -> Key | None:
        """Return the key with this id, or None."""
        return next((key for key in self.all if key.id == key_id), None)

    def __str__(self) -> str:
        return ", ".join(key.id for key in self.all) or "no key"


def make_keys(secrets: Sequence[str]) -> Keys:
    """Return a key for each secret, in order."""
    return Keys(all=tuple(Key(secret=secret.encode()) for secret in secrets))


def hkdf(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """Derive a key of 32 bytes, the first block of HKDF-SHA256 (RFC 5869)."""
    pseudorandom = hmac.digest(salt or bytes(32), secret, hashlib.sha256)
    return hmac.digest(pseudorandom, info + b"\x01", hashlib.sha256)


FRAME = 1 << 16
TAG = 16
SALT, PREFIX = 32, 7
HEADER = 1 + SALT + PREFIX


def encrypt(chunks: Iterable[bytes], *, secret: bytes, associated: bytes) -> Iterator[bytes]:
    """Encrypt a stream with a secret of 32 bytes; decryption needs the same associated data."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, prefix = os.urandom(SALT), os.urandom(PREFIX)
    cipher = AESGCM(hkdf(secret, salt=salt, info=associated))
    yield bytes([HEADER]) + salt + prefix
    for number, text, is_last in _cut(chunks, first=FRAME - HEADER - TAG, size=FRAME - TAG):
        yield cipher.encrypt(_nonce(prefix, number, is_last=is_last), text, None)


def decrypt(chunks: Iterable[bytes], *, secret: bytes, associated: bytes) -> Iterator[bytes]:
    """Decrypt a stream, frame by frame. Raises DamagedError."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    cipher, prefix = None, b""
    for number, sealed, is_last in _cut(chunks, first=FRAME, size=FRAME):
        frame = sealed
        if cipher is None:
            header, frame = sealed[:HEADER], sealed[HEADER:]
            if len(header) < HEADER or header[0] != HEADER:
                raise DamagedError("it does not begin with the header of an encrypted stream")
            prefix = header[1 + SALT :]
            cipher = AESGCM(hkdf(secret, salt=header[1 : 1 + SALT], info=associated))
        try:
            text = cipher.decrypt(_nonce(prefix, number, is_last=is_last), frame, None)
        except InvalidTag:
            raise DamagedError(f"its frame {number + 1} was altered") from None
        yield text


def _nonce(prefix: bytes, number: int, *, is_last: bool) -> bytes:
    # A number beyond 4 bytes raises OverflowError after 4 PiB, so no nonce is ever used twice.
    return prefix + number.to_bytes(4, "big") + bytes([is_last])


def _cut(chunks: Iterable[bytes], *, first: int, size: int) -> Iterator[tuple[int, bytes, bool]]:
    held, wanted, number = bytearray(), first, 0
    for chunk in chunks:
        held += chunk
        # Not when it is exactly full: it may be the last frame, which is marked.
        while len(held) > wanted:
            yield number, bytes(memoryview(held)[:wanted]), False
            del held[:wanted]
            wanted, number = size, number + 1
    yield number, bytes(held), True
