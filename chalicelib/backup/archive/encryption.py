"""The keys of encrypted backups: one that encrypts, all that decrypt, and what is derived from each."""

import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from chalicelib.core.errors import DamagedError


@dataclass(frozen=True, kw_only=True)
class Key:
    """A secret, which serves for nothing but deriving a key for each purpose."""

    # Not in the representation: a traceback may show it.
    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """What manifests call it, 8 hexadecimal digits."""
        return self.derive("id").hex()[:8]

    def derive(self, purpose: str) -> bytes:
        """Return the 32 bytes for a purpose."""
        return hkdf(self.secret, salt=b"", info=f"nightshift backup {purpose}".encode())


@dataclass(frozen=True, kw_only=True)
class Keys:
    """What BACKUP_KEY holds: the first encrypts, all decrypt. None at all leaves it to the bucket's own encryption."""

    all: tuple[Key, ...]

    @property
    def first(self) -> Key | None:
        """The key of new backups."""
        return self.all[0] if self.all else None

    def find(self, key_id: str) -> Key | None:
        """Return the key with this id, None where there is none."""
        return next((key for key in self.all if key.id == key_id), None)

    def __str__(self) -> str:
        return ", ".join(key.id for key in self.all) or "no key"


def keys_of(secrets: Sequence[str]) -> Keys:
    """Return the keys that these secrets are, in their order."""
    return Keys(all=tuple(Key(secret=secret.encode()) for secret in secrets))


def hkdf(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """Derive a key of 32 bytes: HKDF-SHA256 of RFC 5869, of which that is the first block."""
    pseudorandom = hmac.digest(salt or bytes(32), secret, hashlib.sha256)
    return hmac.digest(pseudorandom, info + b"\x01", hashlib.sha256)


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
