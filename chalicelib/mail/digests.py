"""The digest of a day: which posts it tells of, composed once, the same for every run that repeats it."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select

from chalicelib.application import posts
from chalicelib.core.config import Settings
from chalicelib.core.context import Context
from chalicelib.core.database import insert_missing
from chalicelib.mail.composition import Composition, compose, from_json
from chalicelib.schedule.schedule import Window
from chalicelib.schema import digests


def prepare(context: Context, window: Window) -> int:
    """Compose and store the digest of this day unless it is stored already, and return its number of posts.

    The first run of a day decides its content, so that a late, repeated or continued run sends the same mail.
    Nothing is stored when the day has no posts.
    """
    day = window.day.isoformat()

    def work(connection: Connection) -> int:
        stored = select(digests.c.post_count).where(digests.c.day == day)
        if (known := connection.execute(stored).scalar_one_or_none()) is not None:
            return int(known)
        count = connection.execute(_count(window)).scalar_one()
        if count:
            newest = connection.execute(_newest(window, context.settings.digest_max_posts)).all()
            composition = _compose(newest, count, window.day, context.settings)
            connection.execute(
                insert_missing(digests, connection.dialect).values(
                    day=day,
                    subject=composition.subject,
                    content=composition.to_json(),
                    post_count=count,
                    created_at=context.clock.now_ms(),
                )
            )
        return count

    return context.database.transact(work)


def load(context: Context, day: str) -> Composition | None:
    """Return the stored digest of a day, None when there is none."""
    query = select(digests.c.content).where(digests.c.day == day)
    stored = context.database.autocommit(lambda connection: connection.execute(query).scalar_one_or_none())
    return None if stored is None else from_json(stored)


def count_posts(context: Context, window: Window) -> int:
    """Return how many posts fall into the window."""
    return context.database.autocommit(lambda connection: connection.execute(_count(window)).scalar_one())


def _count(window: Window) -> Select[int]:
    return select(func.count()).select_from(posts).where(*_within(window))


def _newest(window: Window, limit: int) -> Select[Any]:
    return (
        select(posts.c.id, posts.c.title, posts.c.url, posts.c.author, posts.c.points, posts.c.comments)
        .where(*_within(window))
        .order_by(posts.c.created_at.desc(), posts.c.id.desc())
        .limit(limit)
    )


def _within(window: Window) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return posts.c.created_at >= window.start_ms, posts.c.created_at < window.end_ms


def _compose(newest: Sequence[Any], count: int, day: date, settings: Settings) -> Composition:
    entries = [
        {
            "title": post.title,
            "link": post.url or f"{settings.site_url.rstrip('/')}/posts/{post.id}",
            "author": post.author,
            "points": post.points,
            "comments": post.comments,
        }
        for post in newest
    ]
    written_day = f"{day:%A}, {day.day} {day:%B %Y}"
    return compose(
        "digest",
        subject=f"{settings.site_name}: {count} {'post' if count == 1 else 'posts'} from {written_day}",
        content={
            "site_name": settings.site_name,
            "site_url": settings.site_url,
            "day": written_day,
            "posts": entries,
            "count": count,
            "more": count - len(entries),
        },
    )
