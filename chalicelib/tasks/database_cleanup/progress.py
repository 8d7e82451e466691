"""How far a rule has come in a run, as it stands in the run's checkpoint."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from chalicelib.core.outcome import Counts
from chalicelib.tasks.database_cleanup.stretch import Key

# Parts of primary keys that JSON has no value for, and how they are written and read; a datetime is also a date.
_KINDS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "base64": (bytes, lambda part: base64.b64encode(part).decode(), base64.b64decode),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "decimal": (Decimal, str, Decimal),
    "uuid": (UUID, str, UUID),
}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a rule stands: `counts` of rows so far, of the `expected` that its survey found, None before it.

    At most `allowed` rows may go in the run. The rows up to the key `after` are done with. `error` is a sentence.
    """

    expected: int | None = None
    allowed: int = 0
    after: Key | None = None
    counts: Counts = field(default_factory=Counts)
    is_done: bool = False
    error: str | None = None

    def finish(self) -> Progress:
        """Return the progress at the end: who was expected and is missing was gone, changed or in use meanwhile."""
        missing = max(0, (self.expected or 0) - self.counts.total)
        return replace(self, counts=self.counts + Counts(total=missing, skipped=missing), is_done=True)

    def fail(self, error: str) -> Progress:
        """Return the progress of a rule that failed."""
        return replace(self, error=error)

    def reopen(self) -> Progress:
        """Return what the next attempt begins with: a rule that failed goes on, anew where nothing was deleted yet."""
        if self.error is None:
            return self
        return replace(self, error=None) if self.counts.succeeded else Progress()

    def tally(self) -> Counts:
        """Return the counts; of a rule that failed, all that remains counts as failed."""
        missing = max(0, (self.expected or 0) - self.counts.total) if self.error else 0
        return self.counts + Counts(total=missing, failed=missing)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        after = None if self.after is None else [_write(part) for part in self.after]
        return vars(self) | {"after": after, "counts": self.counts.as_dict()}


def read_progress(saved: Mapping[str, Any]) -> Progress:
    """Return what `as_dict` wrote."""
    after = None if saved["after"] is None else tuple(_read(part) for part in saved["after"])
    return Progress(**{**saved, "after": after, "counts": Counts(**saved["counts"])})


def _write(part: Any) -> Any:
    for name, (kind, write, _) in _KINDS.items():
        if isinstance(part, kind):
            return {name: write(part)}
    return part


def _read(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    ((name, text),) = part.items()
    return _KINDS[name][2](text)
