"""What made-up readers leave behind: the right columns, the same every time, and something of it for every task."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Table

from chalicelib.application import email_verification_tokens, password_reset_tokens, sessions
from chalicelib.core.clock import from_ms, to_ms
from chalicelib.schema import activity
from nightshift.demo import blog
from nightshift.demo.blog import make_users

NOW = datetime(2025, 3, 14, 8, 30, tzinfo=UTC)
NOW_MS = to_ms(NOW)
TODAY = NOW.date()
USERS = list(make_users(300, now=NOW, seed=1))
HOUR, DAY = 3_600_000, 86_400_000

MAKERS = {
    "sessions": (blog.make_sessions, sessions),
    "password reset tokens": (blog.make_password_reset_tokens, password_reset_tokens),
    "email verification tokens": (blog.make_email_verification_tokens, email_verification_tokens),
}
every_kind = pytest.mark.parametrize("kind", MAKERS)


def make(kind: str, *, seed: int = 1) -> list[dict[str, Any]]:
    return list(MAKERS[kind][0](USERS, now_ms=NOW_MS, seed=seed))


def days_of(*, seed: int = 1, days: int = 100) -> list[dict[str, Any]]:
    return list(blog.make_activity(USERS, first=TODAY - timedelta(days=days), days=days, seed=seed))


@every_kind
def test_rows_have_exactly_the_columns_of_their_table(kind: str) -> None:
    table: Table = MAKERS[kind][1]
    for row in make(kind):
        assert set(row) == set(table.columns.keys())
        for key, value in row.items():
            assert table.columns[key].nullable or value is not None
            assert len(str(value)) <= (getattr(table.columns[key].type, "length", None) or 500)


@every_kind
def test_ids_are_unique_and_the_same_seed_makes_the_same_rows(kind: str) -> None:
    rows = make(kind)
    assert len({row["id"] for row in rows}) == len(rows)
    assert len({row.get("token", row["id"]) for row in rows}) == len(rows)
    assert rows == make(kind)
    assert rows != make(kind, seed=2)


def test_a_session_begins_no_earlier_than_its_user_and_ends_no_later_than_now() -> None:
    joined = {user["id"]: user["created_at"] for user in USERS}
    for session in make("sessions"):
        assert joined[session["user_id"]] <= session["created_at"] <= session["updated_at"] <= NOW_MS


def test_some_sessions_are_of_yesterday_and_some_have_been_idle_for_over_a_month() -> None:
    used = [session["updated_at"] for session in make("sessions")]
    yesterday = to_ms(datetime(2025, 3, 13, tzinfo=UTC))
    assert sum(yesterday <= moment < yesterday + DAY for moment in used) > 20
    # Neither so few that the cleanup has nothing to do, nor so many that it refuses.
    assert 0.2 < sum(moment < NOW_MS - 30 * DAY for moment in used) / len(used) < 0.45


def test_most_reset_tokens_have_expired_and_some_have_not() -> None:
    tokens = make("password reset tokens")
    addresses = {user["email"] for user in USERS}
    assert {token["email"] for token in tokens} <= addresses
    assert all(token["expires_at"] - token["created_at"] == HOUR for token in tokens)
    expired = sum(token["expires_at"] < NOW_MS for token in tokens)
    assert 0 < len(tokens) - expired < expired


def test_whoever_is_not_verified_has_a_token_to_verify_and_nobody_else_has() -> None:
    tokens = make("email verification tokens")
    unverified = {user["id"]: user["created_at"] for user in USERS if not user["is_verified"]}
    assert [token["user_id"] for token in tokens] == list(unverified)
    assert all(unverified[token["user_id"]] <= token["created_at"] <= NOW_MS for token in tokens)
    assert 0 < sum(token["expires_at"] < NOW_MS for token in tokens) < len(tokens)


def test_nobody_was_active_twice_on_a_day_or_before_they_joined_or_after_the_last_day() -> None:
    joined = {user["id"]: from_ms(user["created_at"]).date().isoformat() for user in USERS}
    rows = days_of()
    assert len({(row["day"], row["user_id"]) for row in rows}) == len(rows)
    for row in rows:
        assert set(row) == set(activity.columns.keys())
        assert joined[row["user_id"]] <= row["day"]
        assert (TODAY - timedelta(days=100)).isoformat() <= row["day"] < TODAY.isoformat()


def test_every_day_has_somebody_and_no_day_has_everybody() -> None:
    by_day = Counter(row["day"] for row in days_of())
    assert len(by_day) == 100
    assert max(by_day.values()) < len(USERS) / 2


def test_the_same_seed_makes_the_same_activity() -> None:
    assert days_of() == days_of()
    assert days_of() != days_of(seed=2)
