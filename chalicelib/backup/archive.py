"""The archive of one backup as it is written: its parts and, last, its manifest."""

from collections.abc import Iterable, Sequence

from chalicelib.backup.folder import MANIFEST, key_of, moment_of
from chalicelib.backup.keys import Key
from chalicelib.backup.manifest import Manifest, Stored, seal
from chalicelib.backup.parts import Packing
from chalicelib.core.errors import TransientError
from chalicelib.core.store import Store, UploadPool
from chalicelib.core.telemetry import logger


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
