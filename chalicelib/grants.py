"""What a database user is granted, read as MySQL and MariaDB write it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

# Any one of them shows the routines of a schema.
SHOWING_ROUTINES = frozenset(
    {"EXECUTE", "CREATE ROUTINE", "ALTER ROUTINE", "SHOW CREATE ROUTINE", "SHOW_ROUTINE", "ALL PRIVILEGES"}
)
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


def read_grants(texts: Iterable[str]) -> list[Grant]:
    """Return the grants on schemas and tables among what the server says of a user."""
    found = (match.groupdict() for match in map(_GRANT.match, texts) if match is not None)
    return [Grant(**told | {"privileges": frozenset(told["privileges"].split(", "))}) for told in found]


def privileges_on(grants: Iterable[Grant], schema: str) -> frozenset[str]:
    """Return the privileges on all of a schema."""
    grants = list(grants)
    everywhere = [grant for grant in grants if grant.schema == "*"]
    return frozenset[str]().union(*(grant.privileges for grant in [*everywhere, *_closest(grants, schema).values()]))


def sees_routines(grants: Iterable[Grant], schema: str) -> bool:
    """Return whether a user is shown the routines of a schema; MariaDB keeps them in a table."""
    grants = list(grants)
    places = {("*", "*"), ("`mysql`", "`proc`")}
    reads_table = any("SELECT" in grant.privileges for grant in grants if (grant.schema, grant.table) in places)
    return reads_table or not SHOWING_ROUTINES.isdisjoint(privileges_on(grants, schema))


def place_of(grants: Iterable[Grant], schema: str, *, user: str) -> str:
    """Return where to grant a user more of a schema.

    A grant whose pattern is closer to the schema's name than that of an earlier one would take that one's place.
    """
    own = [grant for grant in grants if re.sub("[`']", "", grant.grantee) == user]
    return f"{next((grant.schema for grant in _closest(own, schema).values()), pattern_of(schema))}.*"


def pattern_of(schema: str) -> str:
    """Return a schema's name as a GRANT takes it, where _ and % would stand for other letters."""
    escaped = re.sub(r"([%_])", r"\\\1", schema).replace("`", "``")
    return f"`{escaped}`"


def _closest(grants: Iterable[Grant], schema: str) -> dict[str, Grant]:
    """Return by grantee the one grant on schemas which the server goes by."""
    return {g.grantee: g for g in sorted(grants, key=lambda g: g.closeness) if g.means(schema)}
