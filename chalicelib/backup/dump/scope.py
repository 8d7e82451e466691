"""What of a schema goes into a backup."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Connection, text

from chalicelib.backup.connection import tell
from chalicelib.core.errors import ConfigurationError
from chalicelib.core.grants import Grant, place_of, privileges_on, read_grants, sees_routines


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


# By what a list shows: the privilege that lets it.
SHOWN_BY = {"tables": "SELECT", "triggers": "TRIGGER", "events": "EVENT"}
# A routine that is shown without its text is refused where that is read.
ROUTINES = "routines"


def check_sight(connection: Any, schema: str) -> None:
    """Raise ConfigurationError, which says what to grant, unless the connection's user sees all of the schema."""
    # Also what the user's active roles are granted.
    grants = read_grants(text for (text,) in tell(connection, b"SHOW GRANTS"))
    seen = seen_by(grants, schema)
    if hidden := [what for what in (*SHOWN_BY, ROUTINES) if what not in seen]:
        user, version = tell(connection, b"SELECT CURRENT_USER(),VERSION()")[0]
        place = place_of(grants, schema, user=user)
        needed = " and ".join(_needed(hidden, place, on_mariadb="MariaDB" in version))
        raise ConfigurationError(
            f"a backup by {user} would lack {' and '.join(hidden)} of {schema}, which it is not shown: grant {needed}"
        )


def seen_by(grants: Iterable[Grant], schema: str) -> set[str]:
    """Return what these grants let be seen of all that the schema holds."""
    grants = list(grants)
    privileges = privileges_on(grants, schema)
    seen = {what for what, enough in SHOWN_BY.items() if privileges & {"ALL PRIVILEGES", enough}}
    return seen | {ROUTINES} if sees_routines(grants, schema) else seen


def _needed(hidden: list[str], place: str, *, on_mariadb: bool) -> Iterator[str]:
    if of_schema := [SHOWN_BY[what] for what in hidden if what != ROUTINES]:
        yield f"{', '.join(of_schema)} ON {place}"
    if ROUTINES in hidden:
        yield "SELECT ON mysql.proc" if on_mariadb else "SHOW_ROUTINE ON *.*"


VERSIONED = text(
    "SELECT table_name FROM information_schema.tables"
    " WHERE table_schema = DATABASE() AND table_type = 'SYSTEM VERSIONED' ORDER BY table_name"
)
# MySQL has libraries from 9.2 on.
HAS_LIBRARIES = text(
    "SELECT COUNT(*) FROM information_schema.tables"
    " WHERE table_schema = 'information_schema' AND table_name = 'LIBRARIES'"
)
LIBRARIES = text(
    "SELECT library_name FROM information_schema.libraries WHERE library_schema = DATABASE() ORDER BY library_name"
)


def find_left_out(connection: Connection, plan: Plan) -> dict[str, list[str]]:
    """Return the names of what a backup by the plan leaves out, by the summary's field; nothing for what is not there.

    These are MariaDB's system-versioned tables, of which it holds the present rows and not their history, and MySQL's
    libraries of JavaScript or WebAssembly. Raises DBAPIError.
    """
    versioned = connection.scalars(VERSIONED).all()
    libraries = connection.scalars(LIBRARIES).all() if connection.scalar(HAS_LIBRARIES) else []
    found = {
        "without_history": [name for name in versioned if plan.takes(name) and plan.takes_rows(name)],
        "without_libraries": [name for name in libraries if plan.takes(name)],
    }
    return {field: names for field, names in found.items() if names}
