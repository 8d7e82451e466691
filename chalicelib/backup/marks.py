"""Marks beside a backup: that it was read back, that it was restored on trial. Their age is their objects' own.

They say no more, since what was found is not encrypted.
"""

from chalicelib.backup.folder import key_of
from chalicelib.core.errors import TransientError
from chalicelib.core.store import Store


def mark(store: Store, id: str, name: str) -> None:
    """Write a mark. Raises TransientError."""
    store.put(key_of(id, name), b"{}\n", content_type="application/json")


def unmark(store: Store, id: str, name: str) -> None:
    """Take a mark away. Raises TransientError."""
    for reason in store.delete([key_of(id, name)]).values():
        raise TransientError(f"the mark {name} of backup {id} cannot be taken away: {reason}")
