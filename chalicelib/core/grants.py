"""The grants of a database user, as MySQL and MariaDB write them, and the rights that a deployment needs."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

# Each of them lets a user see the routines of a schema.
SHOWING_ROUTINES = frozenset(
    {"EXECUTE", "CREATE ROUTINE", "ALTER ROUTINE", "SHOW CREATE ROUTINE", "SHOW_ROUTINE", "ALL PRIVILEGES"}
)
_NAME = r"(?:\*|`(?:[^`]|``)+`)"
_GRANT = re.compile(rf"GRANT (?P<privileges>.+?) ON (?P<schema>{_NAME})\.(?P<table>{_NAME}) TO (?P<grantee>\S+)")
# In a grant on schemas: an escaped wildcard, the two wildcards, and any other character.
_PIECES = re.compile(r"\\([%_])|(%)|(_)|(.)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Grant:
    """Privileges of a user or a role; `schema` and `table` are names or patterns as the server writes them."""

    privileges: frozenset[str]
    schema: str
    table: str
    grantee: str

    def means(self, schema: str) -> bool:
        """Return whether it is on the whole schema, by name or pattern, but not on all schemas."""
        if self.schema == "*" or self.table != "*":
            return False
        return schema == self._name or re.fullmatch(_PIECES.sub(_regex, self._name), schema, re.DOTALL) is not None

    @property
    def closeness(self) -> float:
        """The position of its first wildcard: the server prefers the grant with the last one."""
        wildcards = (piece.start() for piece in _PIECES.finditer(self._name) if piece[2] or piece[3])
        return next(wildcards, float("inf"))

    @property
    def _name(self) -> str:
        return self.schema[1:-1].replace("``", "`")


def _regex(piece: "re.Match[str]") -> str:
    plain, many, one, other = piece.groups()
    return ".*" if many else "." if one else re.escape(plain or other)


def read_grants(texts: Iterable[str]) -> list[Grant]:
    """Return the grants on schemas and tables in the server's list of a user's grants."""
    found = (match.groupdict() for match in map(_GRANT.match, texts) if match is not None)
    return [Grant(**groups | {"privileges": frozenset(groups["privileges"].split(", "))}) for groups in found]


def privileges_on(grants: Iterable[Grant], schema: str) -> frozenset[str]:
    """Return the privileges on all of a schema."""
    grants = list(grants)
    everywhere = [grant for grant in grants if grant.schema == "*"]
    return frozenset[str]().union(*(grant.privileges for grant in [*everywhere, *_closest(grants, schema).values()]))


def sees_routines(grants: Iterable[Grant], schema: str) -> bool:
    """Return whether a user can see the routines of a schema; MariaDB keeps them in a table."""
    grants = list(grants)
    places = {("*", "*"), ("`mysql`", "`proc`")}
    reads_table = any("SELECT" in grant.privileges for grant in grants if (grant.schema, grant.table) in places)
    return reads_table or not SHOWING_ROUTINES.isdisjoint(privileges_on(grants, schema))


def place_of(grants: Iterable[Grant], schema: str, *, user: str) -> str:
    """Return the place in which to grant a user more rights on a schema.

    A grant with a closer pattern than an earlier one would replace it, since the server goes by one of them.
    """
    own = [grant for grant in grants if re.sub("[`']", "", grant.grantee) == user]
    return f"{next((grant.schema for grant in _closest(own, schema).values()), pattern_of(schema))}.*"


def pattern_of(schema: str) -> str:
    """Return a schema's name for a GRANT, in which _ and % are wildcards unless escaped."""
    escaped = re.sub(r"([%_])", r"\\\1", schema).replace("`", "``")
    return f"`{escaped}`"


def _closest(grants: Iterable[Grant], schema: str) -> dict[str, Grant]:
    """Return, by grantee, the one grant on schemas that the server applies."""
    return {g.grantee: g for g in sorted(grants, key=lambda g: g.closeness) if g.means(schema)}


TASKS = ("SELECT", "INSERT", "UPDATE", "DELETE")
MIGRATIONS = ("CREATE", "ALTER", "DROP", "INDEX", "REFERENCES")
BACKUPS = ("LOCK TABLES", "SHOW VIEW", "TRIGGER", "EVENT")
# What a drill does in its schema. GRANT ALL gives it, as do all privileges on `*.*`.
DRILLS = (*TASKS, *MIGRATIONS, "CREATE VIEW", "SHOW VIEW", "TRIGGER", "CREATE ROUTINE", "ALTER ROUTINE")
# A drill restores into a schema of this name and eight more characters.
DRILL_PREFIX = "nightshift_drill_"
# Lets a drill create functions and triggers on a server with a binary log. On RDS it is set in the parameter group.
TRUST = "SET GLOBAL log_bin_trust_function_creators = 1"
# The placeholder for the password in the statement that creates the user.
PLACEHOLDER = "PASSWORD"


@dataclass(frozen=True, kw_only=True)
class Right:
    """Privileges that a user needs: for which purpose and on which schema."""

    purpose: str
    privileges: Sequence[str]
    place: str

    def grant(self, account: str) -> str:
        """Return the statement that grants it."""
        return f"GRANT {', '.join(self.privileges)} ON {self.place} TO {account}"


def lacking(schema: str, *, on_mariadb: bool, grants: Sequence[Grant] = (), user: str = "") -> Iterator[Right]:
    """Yield the rights that a user needs on a schema, except those that its grants give.

    `user` is what the server calls it, `name@host`.
    """
    place = place_of(grants, schema, user=user)
    for purpose, privileges in (("tasks", TASKS), ("migrations", MIGRATIONS), ("backups", BACKUPS)):
        if lacks := _lacking(grants, schema, privileges):
            yield Right(purpose=purpose, privileges=lacks, place=place)
    if not sees_routines(grants, schema):
        privilege, where = ("SELECT", "mysql.proc") if on_mariadb else ("SHOW_ROUTINE", "*.*")
        yield Right(purpose="backups", privileges=[privilege], place=where)
    if _lacking(grants, f"{DRILL_PREFIX}00000000", DRILLS):
        yield Right(purpose="drills", privileges=["ALL"], place=f"{pattern_of(DRILL_PREFIX)[:-1]}%`.*")


def new_user(account: str) -> str:
    """Return the statement that creates the user, with PASSWORD as the placeholder of the password."""
    return f"CREATE USER {account} IDENTIFIED BY '{PLACEHOLDER}'"


def account_of(user: str, host: str = "%") -> str:
    """Return a user as SQL statements name it."""
    return "@".join("'" + part.replace("\\", "\\\\").replace("'", "''") + "'" for part in (user, host))


def _lacking(grants: Sequence[Grant], schema: str, wanted: Sequence[str]) -> list[str]:
    held = privileges_on(grants, schema)
    return [] if "ALL PRIVILEGES" in held else [each for each in wanted if each not in held]
