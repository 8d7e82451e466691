"""The history of runs, and what operators and rate limits hold back."""

from sqlalchemy import BigInteger, Column, Double, Index, Integer, String, Table, Text, UniqueConstraint

from chalicelib.application import MYSQL, metadata
from chalicelib.columns import Id, Millis
from chalicelib.schema.types import LongText, table_name

runs = Table(
    table_name("runs"),
    metadata,
    Column("id", Id, primary_key=True),
    Column("task", String(64), nullable=False),
    Column("scheduled_for", Millis, nullable=False),
    Column("trigger", String(16), nullable=False),
    # JSON: what it was asked with, for whoever takes it up.
    Column("options", LongText),
    # running, or how the latest attempt ended: succeeded, skipped, failed, dead; or missed, if none could begin.
    Column("status", String(16), nullable=False),
    # Counts claims, so that it also fences: whoever writes with an older attempt has lost the run.
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("lease_until", Millis, nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("checkpoint", LongText),
    Column("started_at", Millis, nullable=False),
    Column("finished_at", Millis),
    Column("total", BigInteger, nullable=False, server_default="0"),
    Column("succeeded", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("skipped", BigInteger, nullable=False, server_default="0"),
    Column("error_type", String(128)),
    Column("error", Text),
    UniqueConstraint("task", "scheduled_for", name="uq_runs_fire"),
    Index("ix_runs_status", "status", "task"),
    Index("ix_runs_ended", "task", "finished_at"),
    **MYSQL,
)

# The schedule of each task, and up to when the watch has decided about its fires. Whoever decides about runs of a task
# locks its row.
schedules = Table(
    table_name("schedules"),
    metadata,
    Column("task", String(64), primary_key=True),
    Column("text", Text, nullable=False),
    Column("checked_until", Millis, nullable=False),
    # JSON: a pair of milliseconds and text for each schedule that was in force since then, and for the latest.
    Column("history", LongText),
    **MYSQL,
)

# What an operator has stopped: a type of jobs, a task, or by * every one.
pauses = Table(
    table_name("pauses"),
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("reason", String(500), nullable=False),
    Column("paused_at", Millis, nullable=False),
    **MYSQL,
)

# Whoever performs jobs and was unavailable the last time, and since when.
breakers = Table(
    table_name("breakers"),
    metadata,
    Column("name", String(190), primary_key=True),
    # In a row; the row is deleted by the next answer.
    Column("failures", Integer, nullable=False),
    Column("failing_since", Millis, nullable=False),
    # Nothing is sent until then, and then one job at a time: the next one when the first has ended, or then.
    Column("open_until", Millis, nullable=False),
    Column("probe_until", Millis, nullable=False),
    Column("reason", String(500), nullable=False),
    **MYSQL,
)

# The next free turn of each type that has a rate limit, in milliseconds with fractions: of a thousand turns a second
# and more, several share one millisecond.
rate_slots = Table(
    table_name("rate_slots"),
    metadata,
    Column("type", String(64), primary_key=True),
    Column("next_at", Double, nullable=False),
    **MYSQL,
)
