"""Count a monthly report: the figures of each month, and the top posts of the last one."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Table, func, select, update

from chalicelib.application import posts, users
from chalicelib.core.clock import to_ms
from chalicelib.core.database import insert_missing
from chalicelib.mail.settings import MailSettings
from chalicelib.schema import activity, activity_days, month_figures
from chalicelib.tasks.monthly_report.month import Month

MONTHS = 13
FIRST = Month(year=1970, month=1)
TOP_POSTS = 10


@dataclass(frozen=True, kw_only=True)
class MonthFigures:
    """A month in numbers; `active_users` is None where a day was not recorded, which differs from zero."""

    month: Month
    new_users: int
    new_posts: int
    active_users: int | None


@dataclass(frozen=True, kw_only=True)
class TopPost:
    """A post of the reported month. Its texts come from its author: escape them."""

    title: str
    link: str
    author: str | None
    points: int
    comments: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """The reported month, last of `months`, and those before it, oldest first: thirteen where all are known.

    `top_posts` are sorted best first, `computed_at` is aware.
    """

    months: tuple[MonthFigures, ...]
    top_posts: tuple[TopPost, ...]
    computed_at: datetime
    site_name: str
    site_url: str

    @property
    def month(self) -> Month:
        """The reported month."""
        return self.months[-1].month


def collect(connection: Connection, month: Month, *, zone: ZoneInfo, settings: MailSettings, at: datetime) -> Report:
    """Return the report of a closed month, and up to twelve months before it; `at` is the time of counting.

    Each month is counted once, so that the same month always has the same figures.
    """
    months = [month]
    while len(months) < MONTHS and months[0] != FIRST:
        months.insert(0, months[0].previous())
    return Report(
        months=tuple(_figures_of(connection, each, zone=zone, at=at) for each in months),
        top_posts=_top_posts(connection, month.window(zone), site_url=settings.site_url),
        computed_at=at,
        site_name=settings.site_name,
        site_url=settings.site_url,
    )


def _figures_of(connection: Connection, month: Month, *, zone: ZoneInfo, at: datetime) -> MonthFigures:
    """Return a month's stored figures; count those that are not stored yet."""
    is_month, window = month_figures.c.month == str(month), month.window(zone)
    stored = connection.execute(select(month_figures).where(is_month)).one_or_none()
    if stored is None:
        values = {
            "month": str(month),
            "new_users": count_created(connection, users, window),
            "new_posts": count_created(connection, posts, window),
            "active_users": count_active_users(connection, month),
            "counted_at": to_ms(at),
        }
        connection.execute(insert_missing(month_figures, connection.dialect).values(values))
    elif stored.active_users is None and (active := count_active_users(connection, month)) is not None:
        # The month's last day may be recorded after its first report.
        missing = update(month_figures).where(is_month, month_figures.c.active_users.is_(None))
        connection.execute(missing.values(active_users=active))
    # Read again: a concurrent report may have stored the figures first.
    columns = (month_figures.c.new_users, month_figures.c.new_posts, month_figures.c.active_users)
    counted = connection.execute(select(*columns).where(is_month)).one()
    return MonthFigures(month=month, **counted._asdict())


def count_created(connection: Connection, table: Table, window: tuple[int, int]) -> int:
    """Return how many rows of a table were created in a window."""
    start_ms, end_ms = window
    within = (table.c.created_at >= start_ms, table.c.created_at < end_ms)
    return connection.execute(select(func.count()).select_from(table).where(*within)).scalar_one()


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


def count_active_users(connection: Connection, month: Month) -> int | None:
    """Return how many users were active in a month, or None unless all of its days were recorded."""
    days = month.days()
    within = activity_days.c.day.between(days[0], days[-1])
    if connection.execute(select(func.count()).select_from(activity_days).where(within)).scalar_one() < len(days):
        return None
    users = select(func.count(activity.c.user_id.distinct())).where(activity.c.day.between(days[0], days[-1]))
    return connection.execute(users).scalar_one()
