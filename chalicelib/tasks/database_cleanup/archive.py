"""The archive: what goes, as compressed lines of JSON in the bucket, written before it goes."""

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from itertools import count
from typing import Any

from chalicelib.core.store import Store

# A row as the database has it, all columns by their own names, and its table's name.
Line = tuple[str, Mapping[str, Any]]


class Archive:
    """The objects that one attempt writes below a prefix; no object is ever written twice."""

    def __init__(self, store: Store, *, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._numbers = count(1)

    def put(self, lines: Iterable[Line]) -> None:
        """Store rows. Raises TransientError."""
        text = "".join(f"{_write(table, row)}\n" for table, row in lines)
        key = f"{self._prefix}-{next(self._numbers):06}.jsonl.gz"
        self._store.put(key, gzip.compress(text.encode(), mtime=0), content_type="application/gzip")


def _write(table: str, row: Mapping[str, Any]) -> str:
    return json.dumps({"table": table, "row": dict(row)}, ensure_ascii=False, separators=(",", ":"), default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)
