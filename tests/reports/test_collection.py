"""Counting a month from the application's tables: each row in the month in which it was made, in any zone."""

import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert

from chalicelib.application import posts, users
from chalicelib.clock import from_ms, to_ms
from chalicelib.reports.collection import collect
from chalicelib.reports.figures import Report, TopPost
from chalicelib.reports.month import Month
from nightshift.testkit.kit import Kit

AT = datetime(2026, 4, 2, 6, 0, tzinfo=UTC)
MARCH = Month.parse("2026-03")
# Berlin's March is an hour short of its days, and its October an hour longer; others change their clocks on other
# days, or by half an hour, or are off by three quarters of one.
ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "America/Asuncion", "America/Havana"),
    *("Asia/Kathmandu", "Pacific/Apia", "Australia/Lord_Howe"),
]


@pytest.fixture
def kit(database_url: str) -> Kit:
    return Kit(database_url)


def collected(kit: Kit, month: Month = MARCH, *, zone: str = "UTC") -> Report:
    return kit.context().database.transact(
        lambda connection: collect(connection, month, zone=ZoneInfo(zone), settings=kit.settings, at=AT)
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


def test_the_same_tables_give_the_same_report(kit: Kit) -> None:
    add_posts(kit, [{"points": 1}, {"points": 1}])
    assert collected(kit) == collected(kit)
    assert replace(collected(kit), site_name="x") != collected(kit)
