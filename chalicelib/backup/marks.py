"""Marks beside a backup: that it was read back, that it was restored on trial. Their age is their objects' own."""

import json
from dataclasses import asdict
from typing import Any

from chalicelib.backup.folder import key_of
from chalicelib.errors import TransientError
from chalicelib.store import Store


def mark(store: Store, id: str, name: str, found: Any) -> None:
    """Write a mark with what was found, a dataclass, for people. Raises TransientError."""
    content = json.dumps(asdict(found)).encode() + b"\n"
    store.put(key_of(id, name), content, content_type="application/json")


def unmark(store: Store, id: str, name: str) -> None:
    """Take a mark away. Raises TransientError."""
    for reason in store.delete([key_of(id, name)]).values():
        raise TransientError(f"the mark {name} of backup {id} cannot be taken away: {reason}")
