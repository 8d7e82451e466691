"""The history of active users: which months it knows, and how many it counts in them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import delete, insert

from chalicelib.application import sessions
from chalicelib.core.clock import to_ms
from chalicelib.schedule.schedule import window_before
from chalicelib.schema import activity, activity_days
from chalicelib.tasks import record_activity
from chalicelib.tasks.monthly_report.figures import count_active_users
from chalicelib.tasks.monthly_report.month import Month
from nightshift.testkit.clock import FrozenClock
from nightshift.testkit.kit import Kit

FEBRUARY = Month.parse("2026-02")


def execute(kit: Kit, statement: Any, parameters: Any = None) -> None:
    kit.context().database.transact(lambda connection: connection.execute(statement, parameters))


def add_days(kit: Kit, days: list[str], *user_ids: str) -> None:
    execute(kit, insert(activity_days), [{"day": day, "users": len(user_ids), "recorded_at": 0} for day in days])
    if user_ids:
        rows = [{"day": day, "user_id": user_id} for day in days for user_id in user_ids]
        execute(kit, insert(activity), rows)


def counted(kit: Kit, month: Month = FEBRUARY) -> int | None:
    return kit.context().database.transact(lambda connection: count_active_users(connection, month))


def test_a_user_counts_once_in_a_month_however_many_days_they_came(kit: Kit) -> None:
    days = FEBRUARY.days()
    add_days(kit, days[:10], "a", "b")
    add_days(kit, days[10:], "b", "c")
    assert counted(kit) == 3


def test_a_month_in_which_nobody_came_has_zero_and_one_that_nobody_recorded_has_no_figure(kit: Kit) -> None:
    assert counted(kit) is None
    add_days(kit, FEBRUARY.days())
    assert counted(kit) == 0


@pytest.mark.parametrize("missing", [0, 13, 27])
def test_a_month_of_which_a_day_was_not_recorded_has_no_figure(kit: Kit, missing: int) -> None:
    days = FEBRUARY.days()
    add_days(kit, days[:missing] + days[missing + 1 :], "a")
    assert counted(kit) is None
    add_days(kit, [days[missing]])
    assert counted(kit) == 1


def test_the_days_of_other_months_do_not_count(kit: Kit) -> None:
    add_days(kit, FEBRUARY.days(), "a")
    add_days(kit, ["2026-01-31"], "before")
    add_days(kit, ["2026-03-01"], "after")
    assert counted(kit) == 1


def test_a_leap_year_needs_its_twenty_ninth_of_february(kit: Kit) -> None:
    leap = Month.parse("2028-02")
    add_days(kit, [f"2028-02-{day:02}" for day in range(1, 29)], "a")
    assert counted(kit, leap) is None
    add_days(kit, ["2028-02-29"], "b")
    assert counted(kit, leap) == 2


def test_a_month_recorded_day_by_day_is_known_when_the_sessions_are_long_gone(database_url: str) -> None:
    clock = FrozenClock(datetime(2026, 2, 2, 1, 30, tzinfo=UTC))
    kit = Kit(database_url, clock=clock)
    for day in range(28):
        # Each day somebody new; the first of them never comes back.
        used = to_ms(datetime(2026, 2, 1, 12, tzinfo=UTC) + timedelta(days=day))
        row = {"id": f"s{day}", "user_id": f"u{day}", "created_at": used, "updated_at": used}
        execute(kit, insert(sessions).values(row))
        moment = datetime(2026, 2, 2, 1, 30, tzinfo=UTC) + timedelta(days=day)
        window = window_before(moment, ZoneInfo("UTC"))
        assert record_activity.count(kit.context().database, clock, window) == 1
        assert record_activity.record(kit.context().database, clock, window) == 1
        execute(kit, delete(sessions))
        clock.advance(86_400)
    assert counted(kit) == 28
