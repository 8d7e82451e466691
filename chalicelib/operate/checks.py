"""Checks of everything that the functions need, and the migrations of the database."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from chalicelib.core.config import ApplicationJobsSettings, DatabaseSettings
from chalicelib.core.context import Context
from chalicelib.core.error_text import sentence_of
from chalicelib.core.errors import ConfigurationError, NightshiftError, TransientError
from chalicelib.core.mapping import require_mapping
from chalicelib.core.part import Part
from chalicelib.operate.operations import Nothing, operations_of
from chalicelib.queue.services import queues


def migrate(context: Context, _request: Nothing) -> dict[str, Any]:
    """Migrate the database to the newest schema; return the revisions before and after, and further advice."""
    from chalicelib import migrations

    engine = context.database.engine
    before = migrations.current(engine)
    migrations.upgrade(engine)
    return {"before": before, "after": migrations.current(engine), "advice": migrations.advice(engine)}


def access(context: Context, _request: Nothing, parts: Collection[Part]) -> dict[str, Any]:
    """Return what the database's administrator must do before the functions can use it, if anything.

    If the administrator's credentials are known, do it first.
    """
    from chalicelib.operate.access import grant, read_access

    found = read_access(context, parts)
    if found.statements and context.settings(DatabaseSettings).database_admin_credentials is not None:
        grant(context, found)
        found = read_access(context, parts)
    return dict(msgspec.to_builtins(found))


def check(context: Context, _request: Nothing, parts: Collection[Part]) -> dict[str, Any]:
    """Try everything that the functions need, and return the answer or the error of each."""
    probes: dict[str, Callable[[Context], dict[str, Any]]] = {
        "database": _check_database,
        "user": partial(_check_user, parts=parts),
        "cache": _check_cache,
        "queue": _check_queue,
        "application": _check_application,
    }
    for operations in operations_of(parts):
        probes |= operations.probes
    return {name: _try(probe, context) for name, probe in probes.items()}


def _try(probe: Callable[[Context], dict[str, Any]], context: Context) -> dict[str, Any]:
    try:
        return {"ok": True, **probe(context)}
    except (NightshiftError, SQLAlchemyError, BotoCoreError, ClientError, OSError) as error:
        return {"ok": False, "error": sentence_of(error)}


def _check_database(context: Context) -> dict[str, Any]:
    from chalicelib import migrations

    engine = context.database.engine
    with engine.connect() as connection:
        version = "SELECT sqlite_version()" if engine.dialect.name == "sqlite" else "SELECT VERSION()"
        found = connection.execute(text(version)).scalar_one()
    require_mapping(engine)
    revision, newest = migrations.current(engine), migrations.newest()
    return {"server": f"{engine.dialect.name} {found}", "revision": revision, "newest": newest}


def _check_user(context: Context, parts: Collection[Part]) -> dict[str, Any]:
    from chalicelib.operate.access import read_access

    found = read_access(context, parts)
    if found.statements:
        reason = found.refusal or f"the user's rights are not enough for {' and '.join(found.lacks)}"
        raise ConfigurationError(f"{reason}: as an administrator of the database, run {'; '.join(found.statements)}")
    return {"rights": "all"}


def _check_cache(context: Context) -> dict[str, Any]:
    if context.cache is None:
        return {"server": None}
    from redis.exceptions import RedisError

    try:
        return {"server": f"redis {context.cache.info('server')['redis_version']}"}
    except RedisError as error:
        raise TransientError(f"Redis does not answer: {error}") from error


def _check_queue(context: Context) -> dict[str, Any]:
    found = queues(context)
    return {
        **found.work.describe(),
        "priority_waiting": found.priority.describe()["waiting"],
        "dead_letters": found.dead_letters.count(),
    }


def _check_application(context: Context) -> dict[str, Any]:
    settings = context.settings(ApplicationJobsSettings)
    if settings.app_jobs_url is None:
        return {"host": None}
    from chalicelib.queue.application import reach

    return {"host": reach(context)}
