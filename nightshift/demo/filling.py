"""Filling the demo's database: the blog, its readers and what they left behind, and what was recorded of them."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from sqlalchemy import Engine

from chalicelib.application import posts, users
from chalicelib.core.clock import to_ms
from chalicelib.schema import (
    activity,
    activity_days,
    email_verification_tokens,
    password_reset_tokens,
    sessions,
)
from nightshift.demo import visits
from nightshift.demo.blog import make_posts, make_users
from nightshift.demo.loading import load
from nightshift.demo.posts_csv import BadRow, read_posts

POSTS, DAYS = 12_000, 400
# Fewer than a report shows, so that it has months of which it must say that nothing was recorded.
RECORDED_DAYS = 300


def fill_posts(console: Console, engine: Engine, *, now: datetime, seed: int, posts_csv: Path | None) -> None:
    """Make up posts until now, or read them, and tell of each row that cannot be read."""
    if posts_csv is None:
        count = load(engine, posts, make_posts(POSTS, until=now, days=DAYS, seed=seed))
        console.print(f"Blog      {count:,} posts over {DAYS} days, made up")
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
    """Make up readers as they are now, and their activity on the days before yesterday, which is yet to be recorded."""
    people = list(make_users(user_count, now=now, seed=seed))
    load(engine, users, people)
    left: dict[str, Any] = {"now_ms": to_ms(now), "seed": seed}
    session_count = load(engine, sessions, visits.make_sessions(people, **left))
    token_count = load(engine, password_reset_tokens, visits.make_password_reset_tokens(people, **left))
    token_count += load(engine, email_verification_tokens, visits.make_email_verification_tokens(people, **left))
    first = today - timedelta(days=1 + RECORDED_DAYS)
    rows = list(visits.make_activity(people, first=first, days=RECORDED_DAYS, seed=seed))
    load(engine, activity, rows)
    load(engine, activity_days, _days(Counter(row["day"] for row in rows), first=first))
    console.print(
        f"Readers   {user_count} users, {session_count} sessions, {token_count} tokens, and who was active on each of "
        f"{RECORDED_DAYS} days"
    )


def _days(active: Counter[str], *, first: date) -> Iterator[dict[str, Any]]:
    for number in range(RECORDED_DAYS):
        day = first + timedelta(days=number)
        # As its schedule has it: five minutes past the midnight behind it.
        recorded = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1, minutes=5)
        yield {"day": day.isoformat(), "users": active[day.isoformat()], "recorded_at": to_ms(recorded)}
