"""Counting a month from the application's tables: each row in the month in which it was made, in any zone."""

import random
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, Table, delete, insert, select

from chalicelib.application import posts, users
from chalicelib.core.clock import from_ms, to_ms
from chalicelib.mail.settings import MailSettings
from chalicelib.schema import activity, activity_days, month_figures
from chalicelib.tasks.monthly_report import figures as figures_module
from chalicelib.tasks.monthly_report.figures import Report, TopPost, collect
from chalicelib.tasks.monthly_report.month import Month
from nightshift.testkit.kit import Kit

AT = datetime(2026, 4, 2, 6, 0, tzinfo=UTC)
MARCH = Month.parse("2026-03")
# Berlin's March is an hour short of its days, and its October an hour longer; others change their clocks on other
# days, or by half an hour, or are off by three quarters of one.
ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "America/Asuncion", "America/Havana"),
    *("Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe"),
]


def collected(kit: Kit, month: Month = MARCH, *, zone: str = "UTC") -> Report:
    return kit.context().database.transact(
        lambda connection: collect(
            connection, month, zone=ZoneInfo(zone), settings=kit.context().settings(MailSettings), at=AT
        )
    )


def add_users(kit: Kit, moments_ms: list[int]) -> None:
    flags = {"is_verified": False, "is_admin": False, "email_digest": False, "updated_at": 0}
    rows = [
        {"id": f"u{n}", "name": "", "email": f"{n}@example.org", "created_at": moment, **flags}
        for n, moment in enumerate(moments_ms)
    ]
    kit.context().database.transact(lambda connection: connection.execute(insert(users), rows))


def add_posts(kit: Kit, rows: list[dict[str, Any]]) -> None:
    defaults = {"title": "Hello", "url": None, "author": None, "points": 0, "comments": 0, "views": 0}
    rows = [defaults | {"id": f"p{n}", "created_at": to_ms(utc("2026-03-10"))} | row for n, row in enumerate(rows)]
    kit.context().database.transact(lambda connection: connection.execute(insert(posts), rows))


def empty(kit: Kit, table: Table) -> None:
    kit.context().database.transact(lambda connection: connection.execute(delete(table)))


def add_activity(kit: Kit, days: list[str], *user_ids: str) -> None:
    recorded = [{"day": day, "users": len(user_ids), "recorded_at": 0} for day in days]
    active = [{"day": day, "user_id": user_id} for day in days for user_id in user_ids]

    def add(connection: Connection) -> None:
        connection.execute(insert(activity_days), recorded)
        connection.execute(insert(activity), active)

    kit.context().database.transact(add)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_report_has_the_month_and_the_twelve_before_it(kit: Kit) -> None:
    report = collected(kit)
    assert [str(figures.month) for figures in report.months] == [
        *(f"2025-{month:02}" for month in range(3, 13)),
        *("2026-01", "2026-02", "2026-03"),
    ]
    assert {(each.new_users, each.new_posts, each.active_users) for each in report.months} == {(0, 0, None)}
    assert report.top_posts == ()
    assert (report.computed_at, report.site_name, report.site_url) == (
        AT,
        "Slow Harbour",
        "https://slow-harbour.example",
    )


@pytest.mark.parametrize(
    ("zone", "month", "first", "end"),
    [
        # By hand: the midnights that begin the month and the next.
        ("UTC", "2026-03", "2026-03-01T00:00:00", "2026-04-01T00:00:00"),
        ("Europe/Berlin", "2026-03", "2026-02-28T23:00:00", "2026-03-31T22:00:00"),
        ("Europe/Berlin", "2025-10", "2025-09-30T22:00:00", "2025-10-31T23:00:00"),
        ("America/New_York", "2026-03", "2026-03-01T05:00:00", "2026-04-01T04:00:00"),
        ("Asia/Kathmandu", "2026-03", "2026-02-28T18:15:00", "2026-03-31T18:15:00"),
        ("Australia/Lord_Howe", "2026-04", "2026-03-31T13:00:00", "2026-04-30T13:30:00"),
        # The clocks went from midnight to one, so that the month began at one.
        ("America/Asuncion", "2017-10", "2017-10-01T04:00:00", "2017-11-01T03:00:00"),
        # They went back to midnight at one: the month began with the first of the two.
        ("America/Havana", "2015-11", "2015-11-01T04:00:00", "2015-12-01T05:00:00"),
        # A day was left out.
        ("Pacific/Apia", "2011-12", "2011-12-01T10:00:00", "2011-12-31T10:00:00"),
    ],
)
def test_a_month_begins_with_its_first_millisecond_in_the_zone_and_ends_before_the_next_ones(
    kit: Kit, zone: str, month: str, first: str, end: str
) -> None:
    first_ms, end_ms = to_ms(utc(first)), to_ms(utc(end))
    moments = [first_ms - 1, first_ms, first_ms, end_ms - 1, end_ms, end_ms + 1]
    add_users(kit, moments)
    add_posts(kit, [{"created_at": moment, "title": str(moment)} for moment in moments])
    report = collected(kit, Month.parse(month), zone=zone)
    assert (report.months[-1].new_users, report.months[-1].new_posts) == (3, 3)
    assert (report.months[-2].new_users, report.months[-2].new_posts) == (1, 1)
    assert [post.title for post in report.top_posts] == [str(first_ms), str(first_ms), str(end_ms - 1)]


@pytest.mark.parametrize("zone", ZONES)
def test_every_row_is_counted_in_the_month_that_the_clocks_of_the_zone_showed(kit: Kit, zone: str) -> None:
    rng = random.Random(zone)
    start, end = to_ms(utc("2025-02-15")), to_ms(utc("2026-04-15"))
    moments = [rng.randrange(start, end) for _ in range(1500)]
    add_users(kit, moments)
    add_posts(kit, [{"created_at": moment} for moment in moments[::3]])
    local = [f"{from_ms(moment).astimezone(ZoneInfo(zone)):%Y-%m}" for moment in moments]
    joined, posted = Counter(local), Counter(local[::3])
    for figures in collected(kit, zone=zone).months:
        assert (figures.new_users, figures.new_posts) == (joined[str(figures.month)], posted[str(figures.month)])


def test_months_counted_one_after_another_count_every_row_once(kit: Kit) -> None:
    start, end = to_ms(utc("2025-03-01")), to_ms(utc("2026-03-31"))
    moments = list(range(start, end, 3_600_000 * 7))
    add_users(kit, moments)
    assert sum(figures.new_users for figures in collected(kit, zone="UTC").months) == len(moments)


def test_the_ten_best_posts_of_the_month_stand_best_first_and_older_first_among_equals(kit: Kit) -> None:
    day, before = to_ms(utc("2026-03-10")), to_ms(utc("2026-02-28"))
    rows: list[dict[str, Any]] = [{"title": f"{points} points", "points": points} for points in range(-1, 9)]
    rows += [
        {"title": "late", "points": 9, "created_at": day + 1},
        {"id": "b", "title": "early b", "points": 9},
        {"id": "a", "title": "early a", "points": 9},
        {"title": "of February", "points": 99, "created_at": before},
    ]
    add_posts(kit, rows)
    assert [post.title for post in collected(kit).top_posts] == [
        *("early a", "early b", "late"),
        *(f"{points} points" for points in range(8, 1, -1)),
    ]


def test_a_post_is_told_as_it_stands_in_the_table_and_leads_to_the_site_where_it_has_no_link(kit: Kit) -> None:
    title = "<b>Zoë 🐙 שלום</b> \x00 'quoted'"
    add_posts(
        kit,
        [
            {
                "title": title,
                "url": "https://x.org/?a=1&b=2",
                "author": "Ann & Bob",
                "points": 2**31 - 1,
                "comments": 4,
            },
            {"id": "p-2", "url": None, "points": 1},
            {"id": "p-3", "url": "", "points": 0},
        ],
    )
    best, without, empty = collected(kit).top_posts
    assert best == TopPost(title=title, link="https://x.org/?a=1&b=2", author="Ann & Bob", points=2**31 - 1, comments=4)
    assert (without.link, without.author) == ("https://slow-harbour.example/posts/p-2", None)
    assert empty.link == "https://slow-harbour.example/posts/p-3"


def test_a_site_address_that_ends_in_a_slash_gives_links_without_a_second_one(database_url: str) -> None:
    kit = Kit(database_url, SITE_URL="https://slow-harbour.example/blog/")
    add_posts(kit, [{"id": "p-1"}])
    assert collected(kit).top_posts[0].link == "https://slow-harbour.example/blog/posts/p-1"


def test_rows_from_before_1970_and_after_the_report_are_in_no_month(kit: Kit) -> None:
    add_users(kit, [-1, 0, to_ms(utc("2026-04-02")), 2**62])
    assert sum(figures.new_users for figures in collected(kit).months) == 0
    first = collected(kit, Month.parse("1971-01"))
    assert [figures.new_users for figures in first.months] == [1] + [0] * 12


def test_the_first_months_of_all_have_fewer_before_them(kit: Kit) -> None:
    assert [str(each.month) for each in collected(kit, Month.parse("1970-02")).months] == ["1970-01", "1970-02"]
    assert [str(each.month) for each in collected(kit, Month.parse("1970-01")).months] == ["1970-01"]


def test_a_month_is_counted_once_whatever_is_deleted_or_added_later(kit: Kit) -> None:
    march = [to_ms(utc("2026-03-10")), to_ms(utc("2026-03-11"))]
    add_users(kit, march)
    add_posts(kit, [{}, {}, {}])
    add_activity(kit, MARCH.days(), "a", "b")
    before = collected(kit)
    assert (before.months[-1].new_users, before.months[-1].new_posts, before.months[-1].active_users) == (2, 3, 2)
    for table in (users, posts, activity, activity_days):
        empty(kit, table)
    assert collected(kit).months == before.months
    add_users(kit, [*march, *march])
    assert collected(kit).months == before.months
    empty(kit, month_figures)
    assert collected(kit).months[-1].new_users == 4


def test_a_month_keeps_its_figures_in_the_reports_of_the_months_after_it(kit: Kit) -> None:
    add_users(kit, [to_ms(utc("2026-03-10"))])
    collected(kit)
    empty(kit, users)
    april = collected(kit, Month.parse("2026-04"))
    assert [(str(each.month), each.new_users) for each in april.months[-2:]] == [("2026-03", 1), ("2026-04", 0)]


def test_when_it_was_counted_is_kept(kit: Kit) -> None:
    collected(kit, Month.parse("1970-01"))
    rows = kit.context().database.transact(lambda connection: connection.execute(select(month_figures)).all())
    assert [tuple(row) for row in rows] == [("1970-01", 0, 0, None, to_ms(AT))]


def test_active_users_that_were_missing_are_counted_once_the_last_day_is_recorded_and_then_stay(kit: Kit) -> None:
    days = MARCH.days()
    add_users(kit, [to_ms(utc("2026-03-10"))])
    add_activity(kit, days[:-1], "a")
    assert collected(kit).months[-1].active_users is None
    add_activity(kit, days[-1:], "b")
    newcomer = {"id": "x", "name": "", "email": "x", "created_at": to_ms(utc("2026-03-10")), "updated_at": 0}
    flags = {"is_verified": False, "is_admin": False, "email_digest": False}
    kit.context().database.transact(lambda connection: connection.execute(insert(users), newcomer | flags))
    late = collected(kit).months[-1]
    assert (late.active_users, late.new_users) == (2, 1)
    empty(kit, activity)
    assert collected(kit).months[-1] == late


def test_of_two_reports_that_count_a_month_at_once_both_tell_what_the_first_has_counted(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, reports = threading.Event(), []

    def count(_connection: Connection, table: Table, _window: tuple[int, int]) -> int:
        # As if a row had been added in between.
        is_second = threading.current_thread() is rival
        if is_second:
            begun.set()
        return 2 if is_second else 1

    monkeypatch.setattr(figures_module, "count_created", count)
    rival = threading.Thread(target=lambda: reports.append(collected(kit)))
    with kit.context().database.begin() as connection:
        first = collect(connection, MARCH, zone=ZoneInfo("UTC"), settings=kit.context().settings(MailSettings), at=AT)
        rival.start()
        if connection.dialect.name == "mysql":
            # It looked while ours was not committed; SQLite lets nobody do that.
            assert begun.wait(10)
    rival.join()
    assert reports[0].months == first.months
    assert {each.new_users for each in first.months} == {1}


def test_the_same_tables_give_the_same_report(kit: Kit) -> None:
    add_posts(kit, [{"points": 1}, {"points": 1}])
    assert collected(kit) == collected(kit)
    assert replace(collected(kit), site_name="x") != collected(kit)
