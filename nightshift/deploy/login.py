"""Asking for the database's user, before anything runs that would need it."""

from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.core.grants import PLACEHOLDER

# What a migration and each function cannot do without.
NEEDED = frozenset({"tasks", "migrations"})


def require(access: Mapping[str, Any], *, again: str) -> Iterator[str]:
    """Yield what the database's administrator has to do, where a first deployment cannot go on without.

    `access` is the function's own answer, `again` the command that goes on. Raises ValueError, which says so.
    """
    if access["refusal"] is None and (access["is_migrated"] or NEEDED.isdisjoint(access["lacks"])):
        return
    yield "database: run these statements as its administrator"
    yield from (f"  {statement};" for statement in access["statements"])
    if access["refusal"] is not None:
        yield from _password(access["secret"])
    reason = access["refusal"] or f"its user's rights are not enough for {' and '.join(access['lacks'])}"
    raise ValueError(f"{reason}; no schedule or worker has been deployed. Run the statements above, then: {again}")


def _password(secret: str | None) -> Iterator[str]:
    if secret is None:
        yield f"{PLACEHOLDER} is the password in DATABASE_URL."
    else:
        name = secret.rpartition(":")[2].rpartition("-")[0]
        yield f"{PLACEHOLDER} is the password in the secret {name}. This prints it:"
        yield f"  aws secretsmanager get-secret-value --secret-id {name} --query SecretString --output text"
    yield "If the user exists already, use ALTER USER in place of CREATE USER, or put its password into the secret."
