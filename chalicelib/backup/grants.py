"""What a user may see of a schema: the server leaves the rest out of its lists, without a word."""

from collections.abc import Iterable, Iterator
from typing import Any

from chalicelib.backup.session import tell
from chalicelib.core.errors import ConfigurationError
from chalicelib.core.grants import Grant, place_of, privileges_on, read_grants, sees_routines

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
