"""Whether the database lets the functions in, and the statements that its administrator must run."""

from importlib.util import find_spec

import msgspec
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from chalicelib import rights
from chalicelib.config import is_reference
from chalicelib.context import Context
from chalicelib.engine import greeting
from chalicelib.grants import read_grants
from chalicelib.rights import Right
from chalicelib.sentence import sentence_of

# A user or a password that the server does not know, and a user who has no right on the schema.
REFUSED = frozenset({1044, 1045, 1698})
# By what a right is for: the task that needs it, where the project has that.
TASKS = {"backups": "database_backup", "drills": "backup_drill"}


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What the database says to the functions' user.

    `refusal` is why it lets the user in not at all, `lacks` what the user's rights are not enough for, `statements`
    what gives all of that, and `secret` the secret whose password the user must have.
    """

    refusal: str | None = None
    lacks: list[str] = []
    statements: list[str] = []
    secret: str | None = None
    is_migrated: bool = False


def read_access(context: Context) -> Access:
    """Log in and return what is missing. Raises DBAPIError where the database gives no answer."""
    engine = context.database.engine
    if engine.dialect.name == "sqlite":
        return Access(is_migrated=_is_migrated(context))
    try:
        with engine.connect() as connection:
            return _granted(context, connection)
    except OperationalError as error:
        if error.orig is None or error.orig.args[0] not in REFUSED:
            raise
        return _refused(context, sentence_of(error))


def _granted(context: Context, connection: Connection) -> Access:
    user, version = connection.exec_driver_sql("SELECT CURRENT_USER(), VERSION()").one()
    grants = read_grants(connection.exec_driver_sql("SHOW GRANTS").scalars())
    schema = context.database.engine.url.database or ""
    lacking = rights.lacking(schema, on_mariadb="MariaDB" in version, grants=grants, user=user)
    missing = [right for right in lacking if _is_needed(context, right)]
    name, _, host = user.rpartition("@")
    account = rights.account_of(name, host)
    return Access(
        lacks=list(dict.fromkeys(right.purpose for right in missing)),
        statements=[right.grant(account) for right in missing],
        is_migrated=_is_migrated(context),
    )


def _refused(context: Context, refusal: str) -> Access:
    settings = context.settings
    where = {"credentials": settings.database_credentials, "ca": settings.database_ca}
    user, version = greeting(settings.database_url, **where)
    account, schema = rights.account_of(user), context.database.engine.url.database or ""
    needed = [right for right in rights.lacking(schema, on_mariadb="MariaDB" in version) if _is_needed(context, right)]
    secret = settings.database_credentials or settings.database_url
    return Access(
        refusal=refusal,
        statements=[rights.create_user(account), *(right.grant(account) for right in needed)],
        secret=secret if is_reference(secret) else None,
    )


def _is_needed(context: Context, right: Right) -> bool:
    task = TASKS.get(right.purpose)
    if task is None:
        return True
    return find_spec(f"chalicelib.tasks.{task}") is not None and not _relies_on_snapshots(context)


def _relies_on_snapshots(context: Context) -> bool:
    from chalicelib.backup.ages import relies_on_snapshots

    try:
        return context.settings.backup_rds is not None and relies_on_snapshots(context.database)
    except DBAPIError:
        # There is no table yet, so there is no backup either.
        return False


def _is_migrated(context: Context) -> bool:
    from chalicelib import migrations

    try:
        return migrations.current(context.database.engine) is not None
    except (OperationalError, ProgrammingError):
        # The user may not read the table that says so.
        return False
