"""Counting what a monthly report tells, from the application's own tables."""

from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Table, func, select

from chalicelib.application import posts, users
from chalicelib.clock import to_ms
from chalicelib.config import Settings
from chalicelib.database import insert_missing
from chalicelib.reports.activity import count_month
from chalicelib.reports.figures import MonthFigures, Report, TopPost
from chalicelib.reports.month import Month
from chalicelib.schema import month_figures

MONTHS = 13
TOP_POSTS = 10


def collect(connection: Connection, month: Month, *, zone: ZoneInfo, settings: Settings, at: datetime) -> Report:
    """Return the report of a closed month, with the twelve before it; `at` is when it is made.

    Each month is counted once, so that the same month always has the same figures.
    """
    months = [month]
    while len(months) < MONTHS:
        months.insert(0, months[0].previous())
    return Report(
        months=tuple(_figures_of(connection, each, zone=zone, at=at) for each in months),
        top_posts=_top_posts(connection, month.window(zone), site_url=settings.site_url),
        computed_at=at,
        site_name=settings.site_name,
        site_url=settings.site_url,
    )


def _figures_of(connection: Connection, month: Month, *, zone: ZoneInfo, at: datetime) -> MonthFigures:
    """Return a month's figures as they were counted first; a month that nobody has counted is counted now."""
    of_month = month_figures.c.month == str(month)
    stored = connection.execute(select(month_figures).where(of_month)).one_or_none()
    if stored is not None:
        return MonthFigures(
            month=month,
            new_users=stored.new_users,
            new_posts=stored.new_posts,
            active_users=stored.active_users,
        )
    window = month.window(zone)
    figures = MonthFigures(
        month=month,
        new_users=_count_created(connection, users, window),
        new_posts=_count_created(connection, posts, window),
        active_users=count_month(connection, month),
    )
    values = {"new_users": figures.new_users, "new_posts": figures.new_posts, "active_users": figures.active_users}
    counted = insert_missing(month_figures, connection.dialect)
    connection.execute(counted.values(month=str(month), counted_at=to_ms(at), **values))
    return figures


def _count_created(connection: Connection, table: Table, window: tuple[int, int]) -> int:
    start_ms, end_ms = window
    created = table.c.created_at
    return connection.execute(
        select(func.count()).select_from(table).where(created >= start_ms, created < end_ms)
    ).scalar_one()


def _top_posts(connection: Connection, window: tuple[int, int], *, site_url: str) -> tuple[TopPost, ...]:
    start_ms, end_ms = window
    best = (
        select(posts.c.id, posts.c.title, posts.c.url, posts.c.author, posts.c.points, posts.c.comments)
        .where(posts.c.created_at >= start_ms, posts.c.created_at < end_ms)
        .order_by(posts.c.points.desc(), posts.c.created_at, posts.c.id)
        .limit(TOP_POSTS)
    )
    return tuple(
        TopPost(
            title=post.title,
            link=post.url or f"{site_url.rstrip('/')}/posts/{post.id}",
            author=post.author,
            points=post.points,
            comments=post.comments,
        )
        for post in connection.execute(best)
    )
