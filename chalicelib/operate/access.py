"""The rights of the functions' database user, and the statements by which its administrator grants them."""

from collections.abc import Collection, Sequence
from contextlib import closing, suppress

import msgspec
from pymysql.err import MySQLError
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, ProgrammingError

from chalicelib.core import grants
from chalicelib.core.config import DatabaseSettings, is_reference
from chalicelib.core.context import Context
from chalicelib.core.engine import connector_for, greeting, login_of
from chalicelib.core.error_text import sentence_of
from chalicelib.core.errors import ConfigurationError
from chalicelib.core.grants import Grant, privileges_on, read_grants
from chalicelib.core.part import Part
from chalicelib.core.server_errors import translate_errors
from chalicelib.operate.operations import operations_of

# Errors for an unknown user, a wrong password, and a user without rights on the schema.
REFUSED = frozenset({1044, 1045, 1698})
# What every deployment needs rights for.
PURPOSES = frozenset({"tasks", "migrations"})
# A user with one of these on every schema may create functions and triggers in any case.
TRUSTED = frozenset({"ALL PRIVILEGES", "SUPER", "BINLOG ADMIN"})
DISTRUSTED = """
    SELECT @@GLOBAL.log_bin = 1 AND @@GLOBAL.log_bin_trust_function_creators = 0 AND (
        EXISTS (SELECT 1 FROM information_schema.triggers WHERE trigger_schema = DATABASE())
        OR EXISTS (
            SELECT 1 FROM information_schema.routines
            WHERE routine_schema = DATABASE() AND routine_type = 'FUNCTION'
        )
    )
"""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The access of the functions' database user.

    `refusal` is why the server rejects the login, `lacks` are the purposes for which the user has not all rights,
    `statements` grant them, and `secret` has the password that the user must have.
    """

    refusal: str | None = None
    lacks: list[str] = []
    statements: list[str] = []
    secret: str | None = None
    is_migrated: bool = False


def read_access(context: Context, parts: Collection[Part]) -> Access:
    """Log in and return what a deployment with these parts lacks. Raises DBAPIError if the database does not answer."""
    engine = context.database.engine
    if engine.dialect.name == "sqlite":
        return Access(is_migrated=_is_migrated(context))
    try:
        with engine.connect() as connection:
            return _granted(context, connection, parts)
    except OperationalError as error:
        if error.orig is None or error.orig.args[0] not in REFUSED:
            raise
        return _refused(context, sentence_of(error), parts)


def grant(context: Context, found: Access) -> None:
    """Create the user and grant the missing rights, with the administrator's credentials.

    Rights that the administrator cannot grant stay missing. Raises ConfigurationError, TransientError.
    """
    settings = context.settings(DatabaseSettings)
    login = login_of(settings.database_url, settings.database_credentials)
    administrator = settings.database_admin_credentials
    if login.get("user") == login_of(settings.database_url, administrator).get("user"):
        raise ConfigurationError(
            "DATABASE_CREDENTIALS and DATABASE_ADMIN_CREDENTIALS name the same user: "
            "give the secrets stack another DatabaseUsername in infra/stages.json, and deploy"
        )
    connect = connector_for(settings.database_url, credentials=administrator, ca=settings.database_ca)
    with translate_errors("the database's user cannot be made"), closing(connect()) as connection:
        if found.refusal is not None:
            account = grants.account_of(login["user"]).replace("%", "%%")
            # The second changes the password of an existing user.
            for verb in ("CREATE USER IF NOT EXISTS", "ALTER USER"):
                connection.cursor().execute(f"{verb} {account} IDENTIFIED BY %s", [login["password"]])
        for statement in found.statements:
            if statement.startswith("GRANT "):
                with suppress(MySQLError):
                    connection.query(statement)
    # Open connections keep the rights that they began with.
    context.database.engine.dispose()


def _granted(context: Context, connection: Connection, parts: Collection[Part]) -> Access:
    user, version = connection.exec_driver_sql("SELECT CURRENT_USER(), VERSION()").one()
    granted = read_grants(connection.exec_driver_sql("SHOW GRANTS").scalars())
    schema = context.database.engine.url.database or ""
    needed = _purposes(context, parts)
    lacking = grants.lacking(schema, on_mariadb="MariaDB" in version, grants=granted, user=user)
    missing = [right for right in lacking if right.purpose in needed]
    name, _, host = user.rpartition("@")
    account = grants.account_of(name, host)
    purposes, statements = [right.purpose for right in missing], [right.grant(account) for right in missing]
    if "drills" in needed and _is_distrusted(connection, granted):
        purposes, statements = [*purposes, "drills"], [*statements, grants.TRUST]
    return Access(
        lacks=list(dict.fromkeys(purposes)),
        statements=statements,
        is_migrated=_is_migrated(context),
    )


def _refused(context: Context, refusal: str, parts: Collection[Part]) -> Access:
    settings = context.settings(DatabaseSettings)
    where = {"credentials": settings.database_credentials, "ca": settings.database_ca}
    user, version = greeting(settings.database_url, **where)
    account, schema = grants.account_of(user), context.database.engine.url.database or ""
    needed = _purposes(context, parts)
    missing = [right for right in grants.lacking(schema, on_mariadb="MariaDB" in version) if right.purpose in needed]
    secret = settings.database_credentials or settings.database_url
    return Access(
        refusal=refusal,
        statements=[grants.new_user(account), *(right.grant(account) for right in missing)],
        secret=secret if is_reference(secret) else None,
    )


def _is_distrusted(connection: Connection, grants: Sequence[Grant]) -> bool:
    """Return whether the server's binary log forbids a drill to create the schema's functions and triggers."""
    if TRUSTED & privileges_on(grants, ""):
        return False
    return bool(connection.exec_driver_sql(DISTRUSTED).scalar_one())


def _purposes(context: Context, parts: Collection[Part]) -> frozenset[str]:
    """Return the purposes for which the user needs rights."""
    return PURPOSES.union(*(operations.rights(context) for operations in operations_of(parts)))


def _is_migrated(context: Context) -> bool:
    from chalicelib import migrations

    try:
        return migrations.current(context.database.engine) is not None
    except (OperationalError, ProgrammingError):
        # The user has no right to read the table of revisions.
        return False
