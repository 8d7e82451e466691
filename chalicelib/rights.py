"""What the database's user needs, as the statements that give it; docs/data.md shows the same ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chalicelib.grants import Grant, pattern_of, place_of, privileges_on, sees_routines

TASKS = ("SELECT", "INSERT", "UPDATE", "DELETE")
MIGRATIONS = ("CREATE", "ALTER", "DROP", "INDEX", "REFERENCES")
BACKUPS = ("LOCK TABLES", "SHOW VIEW", "TRIGGER", "EVENT")
# What a drill does with its schema. GRANT ALL gives it; users with every privilege on `*.*` have it without that.
DRILLS = (*TASKS, *MIGRATIONS, "CREATE VIEW", "SHOW VIEW", "TRIGGER", "CREATE ROUTINE", "ALTER ROUTINE")
# A drill restores into a schema of this name and eight more characters.
DRILL_PREFIX = "nightshift_drill_"
# Lets a drill make functions and triggers where the server has a binary log. On RDS it is set in the parameter group.
TRUST = "SET GLOBAL log_bin_trust_function_creators = 1"
# Stands for the password in the statement that makes the user.
PLACEHOLDER = "PASSWORD"


@dataclass(frozen=True, kw_only=True)
class Right:
    """Privileges that a user needs, on what, and what for."""

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


def create_user(account: str) -> str:
    """Return the statement that makes the user, with PASSWORD in place of the password."""
    return f"CREATE USER {account} IDENTIFIED BY '{PLACEHOLDER}'"


def account_of(user: str, host: str = "%") -> str:
    """Return a user as statements name it."""
    return "@".join("'" + part.replace("\\", "\\\\").replace("'", "''") + "'" for part in (user, host))


def _lacking(grants: Sequence[Grant], schema: str, wanted: Sequence[str]) -> list[str]:
    held = privileges_on(grants, schema)
    return [] if "ALL PRIVILEGES" in held else [each for each in wanted if each not in held]
