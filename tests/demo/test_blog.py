"""The generated blog: the right columns, the same every time, and as varied as real readers and posts are."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.application import posts, users
from chalicelib.core.clock import from_ms, to_ms
from nightshift.demo.blog import HOSTILE, make_posts, make_users
from tests.sweep import examples

NOW = datetime(2025, 3, 14, 8, 30, tzinfo=UTC)
DAY = 24 * 3_600_000


def blog_users(count: int = 2000, seed: int = 1) -> list[dict[str, Any]]:
    return list(make_users(count, now=NOW, seed=seed))


def blog_posts(count: int = 900, days: int = 90, seed: int = 1) -> list[dict[str, Any]]:
    return list(make_posts(count, until=NOW, days=days, seed=seed))


def share(rows: list[dict[str, Any]], column: str) -> float:
    return sum(bool(row[column]) for row in rows) / len(rows)


def test_rows_have_exactly_the_columns_of_their_table_within_their_lengths() -> None:
    for rows, table in ((blog_users(), users), (blog_posts(), posts)):
        for row in rows:
            assert set(row) == set(table.columns.keys())
            for key, value in row.items():
                column = table.columns[key]
                assert column.nullable or value is not None
                assert value is None or type(value) is column.type.python_type
                assert len(str(value)) <= (getattr(column.type, "length", None) or 500)


def test_the_same_seed_makes_the_same_blog_and_another_seed_another() -> None:
    assert blog_users(50) == blog_users(50)
    assert blog_posts(50) == blog_posts(50)
    assert blog_users(50) != blog_users(50, seed=2)
    assert blog_posts(50) != blog_posts(50, seed=2)


def test_rows_are_made_only_as_they_are_taken() -> None:
    assert len(list(islice(make_users(10**12, now=NOW, seed=1), 3))) == 3
    assert len(list(islice(make_posts(10**12, until=NOW, days=30, seed=1), 3))) == 3


def test_no_rows_are_made_when_none_are_asked_for() -> None:
    assert blog_users(0) == []
    assert blog_posts(0) == []


def test_every_id_and_every_email_is_used_once() -> None:
    for rows, column in ((blog_users(), "id"), (blog_users(), "email"), (blog_posts(), "id")):
        assert len({row[column] for row in rows}) == len(rows)


def test_email_addresses_are_plain_ascii_at_domains_that_nobody_owns() -> None:
    for user in blog_users():
        assert re.fullmatch(r"[a-z0-9]+(\.[a-z0-9]+)*@example\.(com|org|net)", user["email"])


def test_names_come_from_many_scripts_and_carry_accents_and_apostrophes() -> None:
    names = " ".join(user["name"] for user in blog_users())
    for sample in ("'", "’", "é", "Ł", "İ", "王", "佐", "김", "ה", "ف", "शर्मा", "Шевченко"):
        assert sample in names


def test_most_users_are_verified_and_opted_in_and_few_are_admins() -> None:
    people = blog_users()
    assert 0.77 < share(people, "is_verified") < 0.83
    assert 0.67 < share(people, "email_digest") < 0.73
    assert 0 < share(people, "is_admin") < 0.02
    assert all(user["is_verified"] for user in people if user["is_admin"])


def test_even_the_smallest_blog_has_an_admin() -> None:
    assert blog_users(1)[0]["is_admin"]


def test_time_zones_exist_or_are_unknown() -> None:
    zones = {user["timezone"] for user in blog_users()}
    assert None in zones
    assert len([ZoneInfo(zone) for zone in zones if zone]) > 10


def test_users_were_updated_after_they_joined_and_before_now() -> None:
    assert all(user["created_at"] <= user["updated_at"] <= to_ms(NOW) for user in blog_users())


@given(
    count=st.integers(1, 300),
    days=st.integers(1, 60),
    seed=st.integers(),
    until=st.datetimes(datetime(1999, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
)
@settings(max_examples=examples(40))
def test_posts_fall_into_the_days_before_the_end_whatever_is_asked(
    count: int, days: int, seed: int, until: datetime
) -> None:
    made = list(make_posts(count, until=until, days=days, seed=seed))
    assert len(made) == count
    assert all(to_ms(until) - days * DAY <= post["created_at"] < to_ms(until) for post in made)


@pytest.mark.parametrize("seed", range(5))
def test_every_day_has_several_posts(seed: int) -> None:
    per_window = Counter((to_ms(NOW) - 1 - post["created_at"]) // DAY for post in blog_posts(seed=seed))
    assert set(per_window) == set(range(90))
    assert min(per_window.values()) >= 3
    per_date = Counter(from_ms(post["created_at"]).date() for post in blog_posts(seed=seed))
    assert min(per_date[(NOW - timedelta(days=back)).date()] for back in range(1, 90)) >= 3


def test_weekdays_have_more_posts_than_weekends_and_nights_have_few() -> None:
    moments = [from_ms(post["created_at"]) for post in blog_posts(days=91)]
    weekend = sum(moment.weekday() >= 5 for moment in moments) / 2
    weekday = sum(moment.weekday() < 5 for moment in moments) / 5
    assert weekday > 1.5 * weekend
    assert sum(moment.hour < 6 for moment in moments) < 0.05 * len(moments)


def test_a_time_zone_of_the_end_changes_no_post() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=9)))
    assert list(make_posts(50, until=elsewhere, days=7, seed=1)) == blog_posts(50, days=7)


def test_hostile_titles_recur_and_stay_a_small_share() -> None:
    titles = [post["title"] for post in blog_posts()]
    assert set(HOSTILE) <= set(titles)
    assert 0.05 < sum(title in HOSTILE for title in titles) / len(titles) < 0.12


@pytest.mark.parametrize(
    "danger",
    ["<script>alert(1)</script>", "&", '"', "'", "\u200d", "א", "ש", "ك", "g" * 100, "{{ braces }}", "%s"],
)
def test_hostile_titles_hold_each_thing_that_breaks_careless_templates(danger: str) -> None:
    assert any(danger in title for title in HOSTILE)


def test_ordinary_titles_are_varied_and_complete() -> None:
    ordinary = [post["title"] for post in blog_posts() if post["title"] not in HOSTILE]
    assert len(set(ordinary)) > 0.6 * len(ordinary)
    assert all(first != second for first, second in pairwise(ordinary))
    assert not any(mark in title for title in ordinary for mark in "{}")
    assert not any(title[0].islower() for title in ordinary)


def test_some_posts_have_no_link_and_the_rest_have_one_of_their_own() -> None:
    urls = [post["url"] for post in blog_posts()]
    links = [url for url in urls if url]
    assert 0.05 < urls.count(None) / len(urls) < 0.2
    assert len(set(links)) == len(links)
    assert all(re.fullmatch(r"https://blog\.example\.com/[a-z0-9-]+(\?[a-z0-9=&]+)?", url) for url in links)


def test_few_posts_get_most_of_the_attention() -> None:
    made = blog_posts()
    for column in ("views", "points", "comments"):
        values = sorted(post[column] for post in made)
        assert values[0] >= 0
        assert sum(values) / len(values) > 1.3 * values[len(values) // 2]
    assert all(post["comments"] <= post["points"] <= post["views"] for post in made)


def test_a_moment_without_a_time_zone_is_refused() -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(ValueError, match="no time zone"):
        next(make_users(1, now=naive, seed=1))
    with pytest.raises(ValueError, match="no time zone"):
        next(make_posts(1, until=naive, days=1, seed=1))


@pytest.mark.parametrize("days", [0, -3])
def test_posts_spread_over_no_days_are_refused(days: int) -> None:
    with pytest.raises(ValueError, match="at least 1 day"):
        next(make_posts(1, until=NOW, days=days, seed=1))
