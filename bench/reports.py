"""A report's twelve months of sessions: counted as the guide does, and from the days that were recorded.

python -m bench.reports [--sessions 1000000] [--users 50000] [--posts 50000] [--rounds 3]

Each way is a process of its own on a private server; importing and connecting are not measured. The guide counts one
month with three queries, so twelve months are thirty-six; some read the rows instead and count them in Python. Ours
records each day once, the day after (all of them here, one after another), and counts a month once. A report is
collected and written in its three formats, but not put into a bucket.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from bench import command
from bench.child import result_of
from bench.cleanup import connect
from bench.machine import machine
from bench.memory import peak_mib
from bench.report import Column, Part, Ratio
from bench.servers import database, mixed_id, numbers
from bench.tabulate import tabulate
from chalicelib import migrations
from chalicelib.core.clock import to_ms
from chalicelib.core.engine import engine_for
from nightshift.local.environment import enter, isolated, local_environment

UTC_ZONE = ZoneInfo("UTC")
END = datetime(2026, 3, 1, tzinfo=UTC)
START = datetime(2025, 3, 1, tzinfo=UTC)
DAYS = (END - START).days


SIZES = {
    "sessions": (1_000_000, 2000),
    "users": (50_000, 200),
    "posts": (50_000, 200),
    "days": (DAYS, 20),
    "rounds": (3, 1),
}
COLUMNS = (Column(name="time", unit="s"), Column(name="memory", unit="MiB"))


def main() -> None:
    """Measure and print."""
    command.run(measure, __doc__, SIZES)


def measure(sizes: argparse.Namespace) -> Part:
    """Count in each way."""
    enter(isolated(os.environ))
    with tempfile.TemporaryDirectory() as folder, database(sizes.server) as url:
        fill(url, sizes)
        told = machine(url)
        environment = local_environment(
            {**os.environ, "DATABASE_URL": url}, endpoint="http://127.0.0.1:1", folder=Path(folder)
        )
        taken: dict[str, list[dict[str, float]]] = {way: [] for way in (*WAYS, A_DAY)}
        for _ in range(sizes.rounds):
            forget(url)
            for way in WAYS:
                taken[way].append(run(environment, way, url, sizes.days))
            taken[A_DAY].append({"time": taken[RECORD][-1]["time"] / sizes.days})
    ratios = [Ratio(name="× the guide", column="time", to=GUIDE)]
    rows = f"{sizes.sessions:,} sessions, {sizes.users:,} users and {sizes.posts:,} posts"
    about = f"{rows} of twelve months, {sizes.rounds} rounds."
    return Part(about=about, machine=told, tables=(tabulate("", COLUMNS, taken, ratios=ratios),))


def fill(url: str, sizes: argparse.Namespace) -> None:
    """Spread the rows evenly over the twelve months; every session is of a user as good as chosen by lot."""
    migrations.upgrade(engine_for(url))
    start, length = to_ms(START), to_ms(END) - to_ms(START)
    at = f"{start} + FLOOR((seq - 0.5) * {length} / {{}})"
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO users (id, name, email, is_verified, is_admin, email_digest, created_at, updated_at)"  # noqa: S608 (sizes of our own)
            f" SELECT {mixed_id('seq')}, 'Reader', CONCAT(seq, '@example.com'), 1, 0, 1,"
            f" {at.format(sizes.users)}, 0 FROM {numbers(sizes.users)}"
        )
        cursor.execute(
            "INSERT INTO posts (id, title, points, comments, views, created_at)"  # noqa: S608 (sizes of our own)
            f" SELECT {mixed_id('seq')}, CONCAT('Post ', seq), CRC32(seq) % 1000, 0, 0, {at.format(sizes.posts)}"
            f" FROM {numbers(sizes.posts)}"
        )
        user_id = mixed_id(f"1 + CRC32(seq) % {sizes.users:d}")
        cursor.execute(
            "INSERT INTO sessions (id, user_id, user_agent, created_at, updated_at)"  # noqa: S608 (sizes of our own)
            f" SELECT {mixed_id('seq')}, {user_id}, 'Mozilla/5.0 (X11; Linux x86_64)', moment, moment"
            f" FROM (SELECT seq, {at.format(sizes.sessions)} AS moment FROM {numbers(sizes.sessions)}) AS made"
        )
        cursor.execute("ANALYZE TABLE users, posts, sessions")


def forget(url: str) -> None:
    """Empty what ours has recorded and counted."""
    with connect(url) as connection, connection.cursor() as cursor:
        for table in ("activity", "activity_days", "month_figures"):
            cursor.execute(f"TRUNCATE TABLE {table}")


def run(environment: dict[str, str], way: str, url: str, days: int) -> dict[str, Any]:
    """Do one way in a process of its own."""
    child = [sys.executable, "-m", "bench.reports", "--child", way, url, str(days)]
    answer: dict[str, Any] = result_of(child, environment=environment)
    return answer


def months() -> list[tuple[int, int]]:
    """Return the twelve months as ranges of epoch milliseconds, oldest first."""
    from chalicelib.tasks.monthly_report.month import Month

    month = Month(year=START.year, month=START.month)
    ranges: list[tuple[int, int]] = []
    while not ranges or ranges[-1][1] < to_ms(END):
        ranges.append(month.window(UTC_ZONE))
        month = month.next()
    return ranges


def count_by_queries(url: str, _days: int) -> list[int]:
    """Count each month with the guide's three queries, bounded so that they tell of past months too."""
    active = []
    with connect(url) as connection, connection.cursor() as cursor:
        for within in months():
            cursor.execute("SELECT COUNT(*) FROM users WHERE created_at >= %s AND created_at < %s", within)
            cursor.execute("SELECT COUNT(*) FROM posts WHERE created_at >= %s AND created_at < %s", within)
            distinct = "SELECT COUNT(DISTINCT user_id) FROM sessions WHERE updated_at >= %s AND updated_at < %s"
            cursor.execute(distinct, within)
            row = cursor.fetchone()
            active.append(row[0] if row else 0)
    return active


def count_rows(url: str, _days: int) -> list[int]:
    """Read the rows of each month and count them in Python."""
    active = []
    with connect(url) as connection, connection.cursor() as cursor:
        for within in months():
            for table in ("users", "posts"):
                cursor.execute(
                    f"SELECT * FROM {table} WHERE created_at >= %s AND created_at < %s",  # noqa: S608 (our own names)
                    within,
                )
                len(cursor.fetchall())
            cursor.execute("SELECT * FROM sessions WHERE updated_at >= %s AND updated_at < %s", within)
            active.append(len({row[1] for row in cursor.fetchall()}))
    return active


def record_days(url: str, days: int) -> list[int]:
    """Record each of so many days as the task does on the morning after, all long over."""
    from chalicelib.core.clock import SystemClock
    from chalicelib.core.database import Database
    from chalicelib.schedule.schedule import window_before
    from chalicelib.tasks import record_activity

    database = Database(engine_for(url), SystemClock())
    mornings = (START + timedelta(days=n, hours=25) for n in range(days))
    return [record_activity.record(database, SystemClock(), window_before(moment, UTC_ZONE)) for moment in mornings]


def report(url: str, _days: int) -> list[int]:
    """Collect the report of the last month with those before it, and write it in three formats."""
    from chalicelib.core.config import Environment
    from chalicelib.mail.settings import MailSettings
    from chalicelib.tasks.monthly_report import page
    from chalicelib.tasks.monthly_report.figures import collect
    from chalicelib.tasks.monthly_report.month import Month

    settings, month = Environment(os.environ).read(MailSettings), Month.ended_before(END, UTC_ZONE)
    with engine_for(url).begin() as connection:
        collected = collect(connection, month, zone=UTC_ZONE, settings=settings, at=END)
    for write in (page.html, page.csv_text, page.json_text):
        write(collected)
    return [figures.active_users or 0 for figures in collected.months]


GUIDE = "the guide's queries, for each month"
RECORD = "ours: recording every day"
A_DAY = "ours: one of these days"
WAYS: dict[str, Callable[[str, int], list[int]]] = {
    GUIDE: count_by_queries,
    "reading the rows, counting in Python": count_rows,
    RECORD: record_days,
    "ours: the first report, each month counted": report,
    "ours: the same report again, or the next month's": report,
}


def child(way: str, url: str, days: str) -> dict[str, Any]:
    """Do one way, and return the seconds, the peak memory and the last that it counted."""
    with engine_for(url).connect():
        began = time.perf_counter()
        counted = WAYS[way](url, int(days))
        seconds = time.perf_counter() - began
    return {"time": seconds, "memory": peak_mib(), "active": counted[-1]}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(child(*sys.argv[2:])))
    else:
        main()
