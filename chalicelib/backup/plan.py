"""What of a schema goes into a backup."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Patterns of names as a shell has them: what is included and not excluded goes, and with it a table's triggers.

    Of tables in `schema_only` only the definition goes.
    """

    include: Sequence[str] = ("*",)
    exclude: Sequence[str] = ()
    schema_only: Sequence[str] = ()

    def takes(self, name: str) -> bool:
        """Return whether the thing of this name goes into the backup."""
        return _matches(name, self.include) and not _matches(name, self.exclude)

    def takes_rows(self, table: str) -> bool:
        """Return whether a table's rows go with it."""
        return not _matches(table, self.schema_only)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
