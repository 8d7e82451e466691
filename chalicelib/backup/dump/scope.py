"""What a backup includes: the configured plan, the privileges that it needs, and what it cannot hold."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Connection, text

from chalicelib.backup.connection import query_text
from chalicelib.core.errors import ConfigurationError
from chalicelib.core.grants import Grant, place_of, privileges_on, read_grants, sees_routines


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Shell patterns of names: back up what is included and not excluded, and the triggers of these tables.

    Tables in `schema_only` are backed up without rows.
    """

    include: Sequence[str] = ("*",)
    exclude: Sequence[str] = ()
    schema_only: Sequence[str] = ()

    def takes(self, name: str) -> bool:
        """Return whether the object of this name is backed up."""
        return _matches(name, self.include) and not _matches(name, self.exclude)

    def takes_rows(self, table: str) -> bool:
        """Return whether a table's rows are backed up."""
        return not _matches(table, self.schema_only)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


# The privilege that the server requires to list each kind of object.
SHOWN_BY = {"tables": "SELECT", "triggers": "TRIGGER", "events": "EVENT"}
# A routine that is listed without its text fails when its definition is read.
ROUTINES = "routines"


def check_privileges(connection: Any, schema: str) -> None:
    """Raise ConfigurationError, which says what to grant, unless the user sees the whole schema."""
    # Includes the grants of the user's active roles.
    grants = read_grants(text for (text,) in query_text(connection, b"SHOW GRANTS"))
    seen = visible_kinds(grants, schema)
    if hidden := [what for what in (*SHOWN_BY, ROUTINES) if what not in seen]:
        user, version = query_text(connection, b"SELECT CURRENT_USER(),VERSION()")[0]
        place = place_of(grants, schema, user=user)
        needed = " and ".join(_needed(hidden, place, on_mariadb="MariaDB" in version))
        raise ConfigurationError(
            f"a backup by {user} would lack {' and '.join(hidden)} of {schema}, hidden from it: grant {needed}"
        )


def visible_kinds(grants: Iterable[Grant], schema: str) -> set[str]:
    """Return the kinds of objects that these grants make visible in the schema."""
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
# MySQL has libraries since 9.2.
HAS_LIBRARIES = text(
    "SELECT COUNT(*) FROM information_schema.tables"
    " WHERE table_schema = 'information_schema' AND table_name = 'LIBRARIES'"
)
LIBRARIES = text(
    "SELECT library_name FROM information_schema.libraries WHERE library_schema = DATABASE() ORDER BY library_name"
)


def find_omitted(connection: Connection, plan: Plan) -> dict[str, list[str]]:
    """Return the names of what a backup cannot hold, by field of the run's summary.

    These are MariaDB's system-versioned tables, which lose their history, and MySQL's libraries of JavaScript or
    WebAssembly. Raises DBAPIError.
    """
    versioned = connection.scalars(VERSIONED).all()
    libraries = connection.scalars(LIBRARIES).all() if connection.scalar(HAS_LIBRARIES) else []
    found = {
        "without_history": [name for name in versioned if plan.takes(name) and plan.takes_rows(name)],
        "without_libraries": [name for name in libraries if plan.takes(name)],
    }
    return {field: names for field, names in found.items() if names}
