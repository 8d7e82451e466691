"""A finished backup as it is read: its manifest, and the text of its parts."""

from collections.abc import Iterator

from chalicelib.backup.folder import MANIFEST, key_of, moment_of
from chalicelib.backup.keys import Keys
from chalicelib.backup.manifest import MOST_BYTES, Stored, unseal
from chalicelib.backup.parts import unpack
from chalicelib.core.errors import DamagedError, PermanentError
from chalicelib.core.store import NotFoundError, Store


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
            raise DamagedError(f"{part.name} of backup {id} is missing; use another backup") from None
        except DamagedError as error:
            raise DamagedError(f"{part.name} of backup {id} is damaged: {error}; use another backup") from None


def _read_at_most(chunks: Iterator[bytes], most: int) -> bytes | None:
    """Return the content, None where there is more of it."""
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > most:
            return None
    return bytes(content)
