"""What a user may see of a schema: the server leaves the rest out of its lists, without a word."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from chalicelib.backup.quoting import quoted
from chalicelib.backup.session import tell
from chalicelib.errors import ConfigurationError

# By what a list shows: the privileges of which any one is enough. A routine that is shown without its text is refused
# where that is read.
SHOWN_BY = {
    "tables": ("SELECT",),
    "triggers": ("TRIGGER",),
    "events": ("EVENT",),
    "routines": ("EXECUTE", "CREATE ROUTINE", "ALTER ROUTINE", "SHOW CREATE ROUTINE", "SHOW_ROUTINE"),
}
_NAME = r"(?:\*|`(?:[^`]|``)+`)"
_GRANT = re.compile(rf"GRANT (?P<privileges>.+?) ON (?P<schema>{_NAME})\.(?P<table>{_NAME}) TO (?P<grantee>\S+)")
# In a grant on schemas: a wildcard that is none, the two that are, and all else.
_PIECES = re.compile(r"\\([%_])|(%)|(_)|(.)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Privileges of a user or a role, on what names and patterns say as the server writes them."""

    privileges: frozenset[str]
    schema: str
    table: str
    grantee: str

    def means(self, schema: str) -> bool:
        """Return whether it is on all of that schema, and perhaps of others, but not of all that there are."""
        if self.schema == "*" or self.table != "*":
            return False
        return schema == self._name or re.fullmatch(_PIECES.sub(_regex, self._name), schema, re.DOTALL) is not None

    @property
    def closeness(self) -> float:
        """Where its first wildcard is: the later, the sooner the server goes by this grant."""
        wildcards = (piece.start() for piece in _PIECES.finditer(self._name) if piece[2] or piece[3])
        return next(wildcards, float("inf"))

    @property
    def _name(self) -> str:
        return self.schema[1:-1].replace("``", "`")


def _regex(piece: "re.Match[str]") -> str:
    plain, many, one, other = piece.groups()
    return ".*" if many else "." if one else re.escape(plain or other)


def check_sight(connection: Any, schema: str) -> None:
    """Raise ConfigurationError, which says what to grant, unless the connection's user sees all of the schema."""
    # Also what the user's active roles are granted.
    grants = read_grants(text for (text,) in tell(connection, b"SHOW GRANTS"))
    seen = seen_by(grants, schema)
    if hidden := [what for what in SHOWN_BY if what not in seen]:
        user, version = tell(connection, b"SELECT CURRENT_USER(),VERSION()")[0]
        own = [grant for grant in grants if re.sub("[`']", "", grant.grantee) == user]
        needed = " and ".join(_needed(hidden, own, schema, on_mariadb="MariaDB" in version))
        raise ConfigurationError(
            f"a backup by {user} would lack {' and '.join(hidden)} of {schema}, which it is not shown: grant {needed}"
        )


def read_grants(texts: Iterable[str]) -> list[Grant]:
    """Return the grants on schemas and tables among what the server says of a user."""
    found = (match.groupdict() for match in map(_GRANT.match, texts) if match is not None)
    return [Grant(**told | {"privileges": frozenset(told["privileges"].split(", "))}) for told in found]


def seen_by(grants: Iterable[Grant], schema: str) -> set[str]:
    """Return what these grants let be seen of all that the schema holds."""
    everywhere = [grant for grant in grants if grant.schema == "*"]
    seen = {
        what
        for grant in [*everywhere, *_closest(grants, schema).values()]
        for what, enough in SHOWN_BY.items()
        if grant.privileges & {"ALL PRIVILEGES", *enough}
    }
    # MariaDB keeps routines in a table.
    of_routines = [grant for grant in grants if (grant.schema, grant.table) == ("`mysql`", "`proc`")]
    if any("SELECT" in grant.privileges for grant in everywhere + of_routines):
        seen.add("routines")
    return seen


def _closest(grants: Iterable[Grant], schema: str) -> dict[str, Grant]:
    """Return by grantee the one grant on schemas which the server goes by."""
    return {g.grantee: g for g in sorted(grants, key=lambda g: g.closeness) if g.means(schema)}


def _needed(hidden: list[str], own: list[Grant], schema: str, *, on_mariadb: bool) -> Iterator[str]:
    if of_schema := [SHOWN_BY[what][0] for what in hidden if what != "routines"]:
        # One that comes closer than what the user has would take all of that away.
        escaped = quoted(re.sub(r"([%_])", r"\\\1", schema)).decode()
        where = next((grant.schema for grant in _closest(own, schema).values()), escaped)
        yield f"{', '.join(of_schema)} ON {where}.*"
    if "routines" in hidden:
        yield "SELECT ON mysql.proc" if on_mariadb else "SHOW_ROUTINE ON *.*"
