"""What reports are made of, kept longer than what it was counted from."""

from sqlalchemy import Column, Integer, String, Table

from chalicelib.application import MYSQL, metadata, users
from chalicelib.columns import Millis
from chalicelib.schema.types import table_name

# Who was active on which day of the reports' calendar, kept when their sessions are long cleaned up.
activity = Table(
    table_name("activity"),
    metadata,
    Column("day", String(10), primary_key=True),
    Column("user_id", users.c.id.type, primary_key=True),
    **MYSQL,
)

# The days that were recorded: one that is missing here has no history, which is not the same as nobody active.
activity_days = Table(
    table_name("activity_days"),
    metadata,
    Column("day", String(10), primary_key=True),
    Column("users", Integer, nullable=False),
    Column("recorded_at", Millis, nullable=False),
    **MYSQL,
)

# What a monthly report says of a month, counted once: later deletions do not change what was reported.
month_figures = Table(
    table_name("month_figures"),
    metadata,
    Column("month", String(7), primary_key=True),
    Column("new_users", Integer, nullable=False),
    Column("new_posts", Integer, nullable=False),
    # Null where the month's activity was not recorded whole.
    Column("active_users", Integer),
    Column("counted_at", Millis, nullable=False),
    **MYSQL,
)
