"""Record the users who were active yesterday, before the cleanup deletes their sessions; monthly reports count them."""

from dataclasses import dataclass
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, and_, func, literal, or_, select, update

from chalicelib.api import Context, Counts, Run, Skipped, task
from chalicelib.application import sessions
from chalicelib.columns import is_absent
from chalicelib.core.clock import Clock
from chalicelib.core.config import setting
from chalicelib.core.database import Database, insert_missing
from chalicelib.core.mapping import require_mapping
from chalicelib.schedule.schedule import Window, window_before
from chalicelib.schedule.zones import read_zone
from chalicelib.schema import activity, activity_days

HOUR_MS = 3_600_000


@dataclass(frozen=True, kw_only=True)
class ActivitySettings:
    """The time zone of a day, the same as that of digests and reports."""

    digest_zone: ZoneInfo = setting(read_zone, default="UTC")


@task(overlap="queue", catch_up="all", catch_up_limit=31, settings=ActivitySettings)
def record_activity(context: Context, run: Run) -> Counts:
    """Record the day; counts are users."""
    if is_absent(sessions):
        raise Skipped("application.py maps no table of sessions, so nobody knows who was active")
    require_mapping(context.database.engine, sessions)
    day = window_before(run.scheduled_for, context.settings(ActivitySettings).digest_zone)
    if run.dry_run:
        active = count(context.database, context.clock, day)
        return Counts(total=active, skipped=active)
    recorded = record(context.database, context.clock, day)
    return Counts(total=recorded, succeeded=recorded)


def count(database: Database, clock: Clock, day: Window) -> int:
    """Return how many users were active on a day, according to the sessions as they are now."""
    users = select(func.count(sessions.c.user_id.distinct())).where(_was_active(day, now_ms=clock.now_ms()))
    return database.autocommit(lambda connection: connection.execute(users).scalar_one())


def record(database: Database, clock: Clock, day: Window) -> int:
    """Record the users who were active on a day, and return how many are recorded for it.

    A session stores only its last use. Within an hour after the day, sessions that were used again since midnight
    count too. Later they no longer count; users recorded before remain.
    """
    active = _was_active(day, now_ms=clock.now_ms())
    # In hours, to keep transactions short.
    for start_ms in range(day.start_ms, day.end_ms + HOUR_MS, HOUR_MS):
        within = and_(active, sessions.c.updated_at >= start_ms, sessions.c.updated_at < start_ms + HOUR_MS)
        users = select(literal(day.day.isoformat()), sessions.c.user_id).where(within).distinct()
        database.transact(partial(_insert, users=users))
    return database.transact(lambda connection: _close(connection, day, now_ms=clock.now_ms()))


def _was_active(day: Window, *, now_ms: int) -> Any:
    used, created = sessions.c.updated_at, sessions.c.get("created_at")
    # Visitors without an account have sessions in some applications.
    on_the_day = and_(sessions.c.user_id.is_not(None), used >= day.start_ms, used < day.end_ms)
    if created is None or now_ms >= day.end_ms + HOUR_MS:
        return on_the_day
    later = and_(used >= day.end_ms, used < day.end_ms + HOUR_MS, created < day.end_ms)
    return or_(on_the_day, and_(sessions.c.user_id.is_not(None), later))


def _insert(connection: Connection, *, users: Any) -> None:
    connection.execute(insert_missing(activity, connection.dialect).from_select(["day", "user_id"], users))


def _close(connection: Connection, day: Window, *, now_ms: int) -> int:
    written = day.day.isoformat()
    users = select(func.count()).select_from(activity).where(activity.c.day == written)
    recorded = connection.execute(users).scalar_one()
    values = {"users": recorded, "recorded_at": now_ms}
    connection.execute(insert_missing(activity_days, connection.dialect).values(day=written, **values))
    connection.execute(update(activity_days).where(activity_days.c.day == written).values(**values))
    return recorded
