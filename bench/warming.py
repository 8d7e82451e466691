"""Warming the cache with the hundred posts most viewed: by the guide's command, and by the task.

python -m bench.warming [--posts 20000] [--sessions 100000] [--rounds 100]

The database and Redis are private and on this machine, so a round trip costs a fraction of what it does over a network.
Each round runs both ways, in an order of its own, on connections that are open. The guide's command is its own two
queries (every column of the posts) and one SET after the other, in Python; ours claims the lock first. The run's own
record in the database, which keeps a second run off and tells what became of it, is measured apart: the guide has none.
So is what both take with an index of the views.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pymysql
import redis
from redis.connection import AbstractConnection
from sqlalchemy import Engine

from bench import command
from bench.cleanup import connect
from bench.machine import machine
from bench.moments import NOW
from bench.report import Column, Part, Ratio, Table
from bench.servers import database, mixed, numbers
from bench.tabulate import tabulate
from chalicelib import migrations
from chalicelib.core.clock import iso, to_ms
from chalicelib.core.context import from_lambda
from chalicelib.core.engine import engine_for
from chalicelib.core.telemetry import logger
from chalicelib.runs import execution
from chalicelib.tasks import cache_warming
from nightshift.local.environment import enter, local_environment
from nightshift.local.invocation import LocalContext
from nightshift.local.servers import redis_server

GUIDE, OURS, RUN = "the guide's command", "Nightshift's warming", "the same as a run, recorded"
ROUNDS_BEFORE, MANY = 5, 20
# Each of ours is for a moment of its own: what was done for one is not done again.
moments = (NOW - timedelta(hours=2) + timedelta(seconds=n) for n in count())


SIZES = {"posts": (20_000, 200), "sessions": (100_000, 500), "rounds": (100, 3)}
COLUMNS = (Column(name="time", unit="µs"), Column(name="ways to Redis and back", decimals=0))


def main() -> None:
    """Measure and print."""
    command.run(compare, __doc__, SIZES)


def compare(sizes: argparse.Namespace) -> Part:
    """Warm in each way, without an index of the views and with one."""
    with tempfile.TemporaryDirectory() as folder, database(sizes.server) as url:
        (Path(folder) / "redis").mkdir()
        with redis_server(Path(folder) / "redis") as redis_url:
            base = {**os.environ, "DATABASE_URL": url, "REDIS_URL": redis_url}
            enter(local_environment(base, endpoint="http://127.0.0.1:1", folder=Path(folder)))
            fill(url, posts=sizes.posts, sessions=sizes.sessions)
            plain = measure("no index on posts (views)", url, redis_url, rounds=sizes.rounds)
            with connect(url) as connection, connection.cursor() as cursor:
                cursor.execute("CREATE INDEX ix_posts_views ON posts (views)")
            tables = (*plain, *measure("an index on posts (views)", url, redis_url, rounds=sizes.rounds)[:1])
            told = machine(url, redis_url)
    of = f"{sizes.posts:,} posts, {sizes.sessions:,} sessions, half of them of the last day"
    return Part(about=f"{of}; {sizes.rounds} rounds.", machine=told, tables=tables)


def fill(url: str, *, posts: int, sessions: int) -> None:
    """Make posts, and sessions of the last two days."""
    migrations.upgrade(engine_for(url))
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO posts (id, title, url, author, points, comments, views, created_at) SELECT UUID(),"  # noqa: S608 (sizes of our own)
            " CONCAT('A title of the length that titles have, number ', seq), CONCAT('https://example.org/', "
            f"{mixed('seq')}), 'somebody', seq %% 500, seq %% 90, CRC32(seq) %% 100000, seq FROM {numbers(posts)}",
            (),
        )
        cursor.execute(
            "INSERT INTO sessions (id, user_id, created_at, updated_at) SELECT UUID(), "  # noqa: S608 (sizes of our own)
            f"{mixed('CRC32(seq) %% 20000')}, 0, %s + seq * %s FROM {numbers(sessions)}",
            (to_ms(NOW - timedelta(days=2)), 2 * 86_400_000 // sessions),
        )
        cursor.execute("ANALYZE TABLE posts, sessions")


def measure(what: str, url: str, redis_url: str, *, rounds: int) -> tuple[Table, Table, Table]:
    """Run every way in every round; return the tables of all, of Redis alone, and of many values."""
    logger.setLevel("ERROR")
    engine, client = engine_for(url), redis.Redis.from_url(redis_url)
    with connect(url) as connection:
        groups: tuple[tuple[str, dict[str, Callable[[], object]]], ...] = (
            (
                what,
                {
                    GUIDE: lambda: warm_as_the_guide(connection, client),
                    OURS: lambda: warm_as_we_do(engine, client),
                    RUN: run_the_task,
                },
            ),
            (
                "Redis alone",
                {GUIDE: lambda: set_each(client, *AS_THE_GUIDE), OURS: lambda: swap_in(client, AS_WE_DO)},
            ),
            (
                f"{MANY} small values",
                {
                    GUIDE: lambda: [client.set(f"cache:{n}", "1", ex=300) for n in range(MANY)],
                    OURS: lambda: swap_in(client, {f"v{n}": 1 for n in range(MANY)}),
                },
            ),
        )
        AS_THE_GUIDE[:] = query(connection)
        with engine.begin() as ours:
            AS_WE_DO.update(cache_warming.compute(ours, at=NOW))
        ways = {(group, name): way for group, of_group in groups for name, way in of_group.items()}
        taken: dict[tuple[str, str], list[dict[str, float]]] = {each: [] for each in ways}
        for n in range(ROUNDS_BEFORE + rounds):
            for each in random.sample(list(ways), len(ways)):
                with counted() as sent, patch("builtins.print"):
                    began = time.perf_counter()
                    ways[each]()
                    seconds = time.perf_counter() - began
                if n >= ROUNDS_BEFORE:
                    taken[each].append({"time": 1e6 * seconds, "ways to Redis and back": len(sent)})
    slower = Ratio(name="× the guide", column="time", to=GUIDE)
    told = [
        tabulate(group, COLUMNS, {name: taken[group, name] for name in of_group}, ratios=[slower])
        for group, of_group in groups
    ]
    return told[0], told[1], told[2]


AS_THE_GUIDE: list[Any] = []
AS_WE_DO: dict[str, Any] = {}


@contextmanager
def counted() -> Any:
    """Note each time that something is sent to Redis and an answer waited for."""
    sent: list[int] = []
    send: Any = AbstractConnection.send_packed_command

    def note(self: Any, command: Any, *rest: Any, **options: Any) -> Any:
        sent.append(1)
        return send(self, command, *rest, **options)

    with patch.object(AbstractConnection, "send_packed_command", note):
        yield sent


def query(connection: "pymysql.Connection[Any]") -> tuple[list[dict[str, Any]], int]:
    """Ask what the guide's command asks."""
    with connection.cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute("SELECT * FROM posts ORDER BY views DESC LIMIT 100")
        popular = list(cursor.fetchall())
        day_ms = to_ms(NOW - timedelta(days=1))
        cursor.execute("SELECT COUNT(DISTINCT user_id) AS count FROM sessions WHERE updated_at > %s", (day_ms,))
        row = cursor.fetchone()
        assert row is not None  # noqa: S101 (a count has a row)
        return popular, row["count"]


def set_each(client: redis.Redis, popular: list[dict[str, Any]], active: int) -> None:
    """Write what the guide's command writes."""
    client.set("cache:popular_posts", json.dumps(popular), ex=3600)
    client.set("cache:active_users_count", str(active), ex=300)


def warm_as_the_guide(connection: "pymysql.Connection[Any]", client: redis.Redis) -> None:
    """Do what the guide's command does."""
    popular, active = query(connection)
    set_each(client, popular, active)


def swap_in(client: redis.Redis, values: dict[str, Any]) -> None:
    """Claim the lock and put values in, for a moment of its own."""
    at = next(moments)
    cache_warming.claim(client, at=at, run_id="bench")
    cache_warming.swap_in(client, values, at=at, computed_at=at, run_id="bench")


def warm_as_we_do(engine: Engine, client: redis.Redis) -> None:
    """Do what the task does."""
    at = next(moments)
    cache_warming.claim(client, at=at, run_id="bench")
    with engine.begin() as connection:
        values = cache_warming.compute(connection, at=NOW)
    cache_warming.swap_in(client, values, at=at, computed_at=at, run_id="bench")


def run_the_task() -> None:
    """Let the core run the task for a fire."""
    context = from_lambda(LocalContext(function_name="cache_warming"))
    summary = execution.execute("cache_warming", event={"scheduled_for": iso(next(moments))}, context=context)
    if summary["outcome"] != "succeeded":
        raise SystemExit(f"the run was {summary}")


if __name__ == "__main__":
    main()
