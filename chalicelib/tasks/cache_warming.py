"""Warm the application's cache: compute its values together, and replace all of them in one transaction.

Each value is JSON under a key of its version, `{cache}:<name>:<version>`, and `{cache}:current` names the
current version. The braces keep all keys on one node of a cluster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from chalicelib.api import Context, Counts, Run, Skipped, TransientError, task
from chalicelib.application import posts, sessions
from chalicelib.columns import is_absent
from chalicelib.core.clock import from_ms, iso, to_ms
from chalicelib.core.errors import AlreadyClaimed
from chalicelib.core.mapping import require_mapping

if TYPE_CHECKING:
    from redis import Redis

CURRENT, LOCK = "{cache}:current", "{cache}:lock"
# Two intervals and some grace: after a failed run the old values last until the next run.
LIFE_SECONDS = 2 * 1800 + 900
# Longer than any run, yet short enough that a killed run does not block the next one for long.
LOCK_SECONDS = 300
POPULAR = 100
DAY_MS = 86_400_000
COLUMNS = ("id", "title", "url", "author", "points", "comments", "views", "created_at")


@task(catch_up="skip")
def cache_warming(context: Context, run: Run) -> Counts:
    """Compute all values and swap them in; counts are values."""
    if context.cache is None:
        raise Skipped("there is no Redis: set REDIS_URL")
    require_mapping(context.database.engine, posts, sessions)
    at = run.scheduled_for
    if not run.dry_run:
        claim(context.cache, at=at, run_id=str(run.id))
    computed_at = from_ms(context.clock.now_ms())
    values = context.database.transact(lambda connection: compute(connection, at=at))
    if run.dry_run:
        return Counts(total=len(values), skipped=len(values))
    swap_in(context.cache, values, at=at, computed_at=computed_at, run_id=str(run.id))
    return Counts(total=len(values), succeeded=len(values))


def compute(connection: Connection, *, at: datetime) -> dict[str, Any]:
    """Return the values by name: the hundred most viewed posts, and the number of users active in the last 24 hours.

    One whose table the application does not have is left out.
    """
    # No second order: with one, MySQL could not use an index on `views`.
    best = select(*(posts.c[name] for name in COLUMNS)).order_by(posts.c.views.desc()).limit(POPULAR)
    end_ms, used = to_ms(at), sessions.c.updated_at
    active = select(func.count(sessions.c.user_id.distinct())).where(used >= end_ms - DAY_MS, used < end_ms)
    values: dict[str, Any] = {}
    if not is_absent(posts):
        values["popular_posts"] = [dict(zip(COLUMNS, row, strict=True)) for row in connection.execute(best)]
    if not is_absent(sessions):
        values["active_users"] = connection.execute(active).scalar_one()
    if not values:
        raise Skipped("application.py maps neither posts nor sessions, so there is nothing to compute")
    return values


def claim(redis: Redis, *, at: datetime, run_id: str) -> None:
    """Lock out other runs until this one has swapped its values in.

    Raises AlreadyClaimed while another run does so, Skipped where the cache already has the values of a later fire.
    """
    from redis.exceptions import RedisError

    try:
        with redis.pipeline(transaction=True) as pipeline:
            pipeline.set(LOCK, run_id, nx=True, ex=LOCK_SECONDS)
            pipeline.get(LOCK)
            pipeline.get(CURRENT)
            _, holder, current = pipeline.execute()
        if holder != run_id.encode():
            raise AlreadyClaimed("another run is warming the cache")
        if _is_later(current, at=at):
            redis.delete(LOCK)
            raise Skipped("the values of a later fire are in the cache")
    except RedisError as error:
        raise TransientError(f"Redis does not take the lock: {error}") from error


def swap_in(redis: Redis, values: Mapping[str, Any], *, at: datetime, computed_at: datetime, run_id: str) -> None:
    """Write the values to Redis and make them current, in one transaction.

    Raises TransientError, after which the old values stay current, and Skipped where these belong to a later fire.
    """
    from redis.exceptions import RedisError

    version = f"{to_ms(at)}-{run_id}"
    # Untyped in redis-py.
    transaction: Any = redis.pipeline(transaction=True)
    try:
        with transaction as pipeline:
            # A run that outlived its lock may find the values of another one.
            pipeline.watch(CURRENT)
            if _is_later(pipeline.get(CURRENT), at=at):
                raise Skipped("the values of a later fire are in the cache")
            pipeline.multi()
            for name, value in values.items():
                text = json.dumps({"computed_at": iso(computed_at), "value": value}, separators=(",", ":"))
                pipeline.set(f"{{cache}}:{name}:{version}", text, ex=LIFE_SECONDS)
            pipeline.set(CURRENT, version, ex=LIFE_SECONDS)
            pipeline.delete(LOCK)
            pipeline.execute()
    except RedisError as error:
        raise TransientError(f"Redis does not take the values: {error}") from error


def _is_later(version: Any, *, at: datetime) -> bool:
    # Ignore anything else that was written there.
    moment = version.partition(b"-")[0] if isinstance(version, bytes) else b""
    return moment.isdigit() and int(moment) > to_ms(at)


def read(redis: Redis, *names: str) -> dict[str, Any] | None:
    """Return values of one version by name, each with its `computed_at`: this is how an application reads them.

    Return None where the cache is cold; the application then queries its database.
    """
    version = redis.get(CURRENT)
    if not isinstance(version, bytes):
        return None
    texts: Any = redis.mget([f"{{cache}}:{name}:{version.decode()}" for name in names])
    return None if None in texts else {name: json.loads(text) for name, text in zip(names, texts, strict=True)}
