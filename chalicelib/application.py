"""The tables that belong to your application, and the one place to map their names.

Nightshift reads `users` and `posts` and never alters their columns. Where yours are called otherwise, change the
first argument of the table or column here; the `key` is what Nightshift's own code says and stays.
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table
from sqlalchemy.dialects.mysql import CHAR

metadata = MetaData()

Id = String(36).with_variant(CHAR(36), "mysql", "mariadb")
Millis = BigInteger()
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
