"""Where a soak is lived: servers of its own, an emulator behind a proxy, a blog, and an environment of these alone."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from chalicelib import migrations
from chalicelib.application import posts, users
from chalicelib.core.clock import from_ms
from chalicelib.core.engine import engine_for
from nightshift.demo.blog import make_posts, make_users
from nightshift.demo.database import load
from nightshift.local.aws import LocalAws, local_aws
from nightshift.local.environment import enter, isolated, local_environment
from nightshift.local.invocation import LocalClock
from nightshift.local.servers import Server, prepare_mariadb, prepare_mysql, prepare_redis
from soak.proxy import proxy
from soak.settings import POSTS_A_DAY, SETTINGS, START, USERS
from soak.upstream import upstream
from soak.weather import Trouble, Weather

PREPARE = {"mysql": prepare_mysql, "mariadb": prepare_mariadb}


@dataclass(frozen=True, kw_only=True)
class Place:
    """The servers, the emulator as nothing disturbs it, and the database."""

    database: Server
    redis: Server
    aws: LocalAws
    engine: Engine


@contextmanager
def place(folder: Path, clock: LocalClock, weather: Weather, *, server: str, days: int, seed: int) -> Iterator[Place]:
    """Enter it, with a database server of this name; the functions' calls go through the weather.

    Raises NotInstalledError.
    """

    def now() -> datetime:
        return from_ms(clock.now_ms())

    def trouble(service: str) -> Trouble | None:
        return weather.trouble(service, now())

    base = {name: value for name, value in os.environ.items() if not name.endswith("_SCHEDULE")}
    enter(isolated(base))
    # Killed as a process is, it loses nothing that was committed.
    database = PREPARE[server](_made(folder / "database"), "--innodb-flush-log-at-trx-commit=2")
    redis = prepare_redis(_made(folder / "redis"))
    with ExitStack() as stack:
        for each in (database, redis):
            each.start()
            stack.callback(each.kill)
        aws = stack.enter_context(local_aws(clock))
        endpoint = stack.enter_context(proxy(aws.endpoint, trouble))
        settings = {**SETTINGS, "EXTERNAL_SYNC_URL": stack.enter_context(upstream(now, trouble))}
        urls = {"DATABASE_URL": database.url, "REDIS_URL": redis.url}
        enter(local_environment(base | urls, endpoint=endpoint, folder=folder) | settings)
        engine = engine_for(database.url)
        stack.callback(engine.dispose)
        _fill(engine, days=days, seed=seed)
        yield Place(database=database, redis=redis, aws=aws, engine=engine)


def _fill(engine: Engine, *, days: int, seed: int) -> None:
    migrations.upgrade(engine)
    # All of them want the digest, and so a mail that one of them lacks is seen.
    people = [{**user, "is_verified": True, "email_digest": True} for user in make_users(USERS, now=START, seed=seed)]
    load(engine, users, people)
    until = START + timedelta(days=days)
    load(engine, posts, make_posts(POSTS_A_DAY * (days + 1), until=until, days=days + 1, seed=seed))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder
