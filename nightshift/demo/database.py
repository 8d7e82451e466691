"""Fill the demo's database: posts, users, and what the users left behind."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from sqlalchemy import Engine, Table, delete, func, insert, select

from chalicelib import migrations
from chalicelib.application import email_verification_tokens, metadata, password_reset_tokens, posts, sessions, users
from chalicelib.core.clock import to_ms
from chalicelib.schema import activity, activity_days
from nightshift.demo import blog
from nightshift.demo.posts_csv import BadRow, read_posts

POSTS, DAYS = 12_000, 400
# Fewer than a report covers, so that some of its months have no data.
RECORDED_DAYS = 300
BATCH = 1000


def prepare_database(engine: Engine) -> None:
    """Migrate the database, and delete the rows of an earlier demo.

    Raises ValueError if it has other users than the demo's, which are all at example.com, .org or .net.
    """
    migrations.upgrade(engine)
    with engine.begin() as connection:
        query = select(func.count()).select_from(users).where(users.c.email.not_like("%@example.___"))
        if count := connection.execute(query).scalar_one():
            raise ValueError(f"the database of DATABASE_URL has {count} users of its own: give the demo an empty one")
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))


def load(engine: Engine, table: Table, rows: Iterable[dict[str, Any]]) -> int:
    """Insert rows in batches, and return how many."""
    count, remaining = 0, iter(rows)
    while batch := list(islice(remaining, BATCH)):
        with engine.begin() as connection:
            connection.execute(insert(table), batch)
        count += len(batch)
    return count


def fill_posts(console: Console, engine: Engine, *, now: datetime, seed: int, posts_csv: Path | None) -> None:
    """Load generated posts up to now, or the posts of a CSV file; print each row that is invalid."""
    if posts_csv is None:
        count = load(engine, posts, blog.make_posts(POSTS, until=now, days=DAYS, seed=seed))
        console.print(f"Blog      {count:,} sample posts over {DAYS} days")
        return
    bad: list[BadRow] = []

    def good() -> Iterator[dict[str, object]]:
        for row in read_posts(posts_csv):
            if isinstance(row, BadRow):
                bad.append(row)
                console.print(f"[yellow]{posts_csv}:{row.line}: {row.reason}; skipped[/]", highlight=False)
            else:
                yield row

    count = load(engine, posts, good())
    console.print(f"Blog      {count:,} posts from {posts_csv}, {len(bad)} bad rows skipped")


def fill_readers(console: Console, engine: Engine, *, user_count: int, now: datetime, today: date, seed: int) -> None:
    """Load users as of now, and their activity until two days ago: yesterday's is yet to be recorded."""
    people = list(blog.make_users(user_count, now=now, seed=seed))
    load(engine, users, people)
    common: dict[str, Any] = {"now_ms": to_ms(now), "seed": seed}
    session_count = load(engine, sessions, blog.make_sessions(people, **common))
    token_count = load(engine, password_reset_tokens, blog.make_password_reset_tokens(people, **common))
    token_count += load(engine, email_verification_tokens, blog.make_email_verification_tokens(people, **common))
    first = today - timedelta(days=1 + RECORDED_DAYS)
    rows = list(blog.make_activity(people, first=first, days=RECORDED_DAYS, seed=seed))
    load(engine, activity, rows)
    load(engine, activity_days, _days(Counter(row["day"] for row in rows), first=first))
    console.print(
        f"Readers   {user_count} users, {session_count} sessions, {token_count} tokens, and the active users of each "
        f"of {RECORDED_DAYS} days"
    )


def _days(active: Counter[str], *, first: date) -> Iterator[dict[str, Any]]:
    for number in range(RECORDED_DAYS):
        day = first + timedelta(days=number)
        # As scheduled: five minutes after its end.
        recorded = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, minutes=5)
        yield {"day": day.isoformat(), "users": active[day.isoformat()], "recorded_at": to_ms(recorded)}
