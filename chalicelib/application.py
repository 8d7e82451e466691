"""Your application's tables: the one file that says what they are called and how they store things.

Nightshift reads `users`, `posts` and `sessions`, and never alters their columns. Where yours have other names, change
the first argument of the table or column; the `key` is what Nightshift's own code says and stays. Where they store
things otherwise, give a column a type of `chalicelib.columns`. Where they are built otherwise, let `users` be a SELECT
from yours: docs/mapping.md has examples.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Index, Integer, MetaData, String, Table, Text, update

from chalicelib.columns import Id, Millis

# In front of the names of Nightshift's own tables, if your database has other tables with such names.
TABLE_PREFIX = ""

metadata = MetaData()

MYSQL: Any = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}

users = Table(
    "users",
    metadata,
    Column("id", Id, key="id", primary_key=True),
    Column("name", String(255), key="name", nullable=False),
    Column("email", String(255), key="email", nullable=False, unique=True),
    Column("is_verified", Boolean, key="is_verified", nullable=False),
    Column("is_admin", Boolean, key="is_admin", nullable=False),
    Column("email_digest", Boolean, key="email_digest", nullable=False),
    Column("timezone", String(64), key="timezone", nullable=True),
    Column("created_at", Millis, key="created_at", nullable=False),
    Column("updated_at", Millis, key="updated_at", nullable=False),
    **MYSQL,
)
# The digest's fan-out walks opted-in, verified users by id; with this index it never touches the others.
Index("ix_users_digest", users.c.email_digest, users.c.is_verified, users.c.id)


def opt_out(connection: Connection, ids: Collection[str]) -> int:
    """Switch the digest off for these users, and return for how many of them it was on."""
    subscribed = update(users).where(users.c.id.in_(ids), users.c.email_digest.is_(True))
    return connection.execute(subscribed.values(email_digest=False)).rowcount


posts = Table(
    "posts",
    metadata,
    Column("id", Id, key="id", primary_key=True),
    Column("title", String(500), key="title", nullable=False),
    Column("url", String(2048), key="url", nullable=True),
    Column("author", String(255), key="author", nullable=True),
    Column("points", Integer, key="points", nullable=False),
    Column("comments", Integer, key="comments", nullable=False),
    Column("views", Integer, key="views", nullable=False),
    Column("created_at", Millis, key="created_at", nullable=False),
    **MYSQL,
)
# A digest reads one day of posts, newest first.
Index("ix_posts_created", posts.c.created_at, posts.c.id)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Id, key="id", primary_key=True),
    Column("user_id", Id, key="user_id", nullable=False, index=True),
    Column("user_agent", Text, key="user_agent"),
    Column("created_at", Millis, key="created_at", nullable=False),
    Column("updated_at", Millis, key="updated_at", nullable=False, index=True),
    **MYSQL,
)

password_reset_tokens = Table(
    "password_reset_tokens",
    metadata,
    Column("id", Id, key="id", primary_key=True),
    Column("email", String(255), key="email", nullable=False, index=True),
    Column("token", String(255), key="token", nullable=False, unique=True),
    Column("created_at", Millis, key="created_at", nullable=False),
    Column("expires_at", Millis, key="expires_at", nullable=False, index=True),
    **MYSQL,
)

email_verification_tokens = Table(
    "email_verification_tokens",
    metadata,
    Column("id", Id, key="id", primary_key=True),
    Column("user_id", Id, key="user_id", nullable=False, index=True),
    Column("token", String(255), key="token", nullable=False, unique=True),
    Column("created_at", Millis, key="created_at", nullable=False),
    Column("expires_at", Millis, key="expires_at", nullable=False, index=True),
    **MYSQL,
)

# `nightshift migrate` creates these if they are missing. A mapping of existing tables leaves this empty.
created_if_missing: tuple[Table, ...] = (users, posts, sessions, password_reset_tokens, email_verification_tokens)

# What the cleanup deletes: rows whose time in this column is older than this. docs/database_cleanup.md has more rules.
expiring: dict[Column[Any], timedelta] = {
    sessions.c.updated_at: timedelta(days=30),
    password_reset_tokens.c.expires_at: timedelta(0),
    email_verification_tokens.c.expires_at: timedelta(0),
}
# Accounts that are not verified within a week are deleted, after their rows in these columns. None keeps them.
unverified_users: dict[Column[Any], Column[Any]] | None = {
    sessions.c.user_id: users.c.id,
    email_verification_tokens.c.user_id: users.c.id,
    password_reset_tokens.c.email: users.c.email,
}
