"""The keys of encrypted backups: one that encrypts, all that decrypt, and what is derived from each."""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field


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
