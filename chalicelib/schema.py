"""Nightshift's own tables and the guide's, as SQLAlchemy Core. Ids are char(36), times epoch milliseconds."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, UniqueConstraint
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from chalicelib.application import MYSQL, Id, Millis, metadata, posts, users

LongText = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")

sessions = Table(
    "sessions",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False, index=True),
    Column("user_agent", Text),
    Column("created_at", Millis, nullable=False),
    Column("updated_at", Millis, nullable=False, index=True),
    **MYSQL,
)

password_reset_tokens = Table(
    "password_reset_tokens",
    metadata,
    Column("id", Id, primary_key=True),
    Column("email", String(255), nullable=False, index=True),
    Column("token", String(255), nullable=False, unique=True),
    Column("created_at", Millis, nullable=False),
    Column("expires_at", Millis, nullable=False, index=True),
    **MYSQL,
)

email_verification_tokens = Table(
    "email_verification_tokens",
    metadata,
    Column("id", Id, primary_key=True),
    Column("user_id", Id, nullable=False, index=True),
    Column("token", String(255), nullable=False, unique=True),
    Column("created_at", Millis, nullable=False),
    Column("expires_at", Millis, nullable=False, index=True),
    **MYSQL,
)

external_data = Table(
    "external_data",
    metadata,
    Column("id", Id, primary_key=True),
    Column("external_id", String(255), nullable=False, unique=True),
    Column("data", LongText, nullable=False),
    Column("synced_at", Millis, nullable=False),
    **MYSQL,
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("type", String(64), nullable=False),
    # A JSON object; the guide's producers write it as text themselves.
    Column("data", LongText, nullable=False),
    # pending, claimed, processing, completed, failed, dead, cancelled, expired: docs/lifecycle.md draws the moves.
    Column("status", String(16), nullable=False, server_default="pending"),
    Column("created_at", Millis, nullable=False),
    Column("completed_at", Millis),
    # What follows has defaults, so that a producer who knows the guide's columns only goes on as before.
    Column("queue", String(16), nullable=False, server_default="work"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("due_at", Millis, nullable=False, server_default="0"),
    Column("expires_at", Millis),
    # When dispatch puts it on its queue (again), unless something happens to it before; null: never.
    Column("dispatch_at", Millis, server_default="0"),
    # Its turn under the rate limit of its type.
    Column("slot_at", Millis),
    Column("lease_until", Millis, nullable=False, server_default="0"),
    Column("claimed_by", String(64)),
    Column("started_at", Millis),
    # When the latest attempt ended, however it did; completed_at is of success only.
    Column("ended_at", Millis),
    Column("last_error", Text),
    Column("idempotency_key", String(255)),
    # A digest of type and key, exact under any collation; null once the key's period is over.
    Column("unique_key", String(64)),
    Column("unique_until", Millis),
    # The message's other keys, known and unknown, as a JSON object.
    Column("envelope", Text),
    Index("ix_jobs_status", "status", "created_at"),
    Index("uq_jobs_unique_key", "unique_key", unique=True),
    Index("ix_jobs_dispatch", "dispatch_at"),
    Index("ix_jobs_ended", "status", "ended_at"),
    **MYSQL,
)

GUIDE_TABLES = [users, posts, sessions, password_reset_tokens, email_verification_tokens, external_data, jobs]

runs = Table(
    "runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("task", String(64), nullable=False),
    Column("scheduled_for", Millis, nullable=False),
    Column("trigger", String(16), nullable=False),
    # running, or how the latest attempt ended: succeeded, skipped, failed, dead.
    Column("status", String(16), nullable=False),
    # Counts claims, so that it also fences: whoever writes with an older attempt has lost the run.
    Column("attempt", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("lease_until", Millis, nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("checkpoint", Text),
    Column("started_at", Millis, nullable=False),
    Column("finished_at", Millis),
    Column("total", BigInteger, nullable=False, server_default="0"),
    Column("succeeded", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("skipped", BigInteger, nullable=False, server_default="0"),
    Column("error_type", String(128)),
    Column("error", Text),
    UniqueConstraint("task", "scheduled_for", name="uq_runs_fire"),
    **MYSQL,
)

digests = Table(
    "digests",
    metadata,
    # The calendar day that it tells of, 2016-08-03; the first run of a day fixes the content for every later one.
    Column("day", String(10), primary_key=True),
    Column("subject", String(255), nullable=False),
    Column("content", LongText, nullable=False),
    Column("post_count", Integer, nullable=False),
    Column("created_at", Millis, nullable=False),
    **MYSQL,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("digest_day", String(10), primary_key=True),
    Column("user_id", Id, primary_key=True),
    # pending, sending, sent, refused, withdrawn, unknown: docs/lifecycle.md draws the moves.
    Column("status", String(16), nullable=False),
    Column("claimed_at", Millis),
    Column("settled_at", Millis),
    Column("provider_id", String(128)),
    Column("error", String(500)),
    **MYSQL,
)

# What an operator has stopped; a job's type is one kind of thing that has a name.
pauses = Table(
    "pauses",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("reason", String(500), nullable=False),
    Column("paused_at", Millis, nullable=False),
    **MYSQL,
)

# The next free turn of each type that has a rate limit.
rate_slots = Table(
    "rate_slots",
    metadata,
    Column("type", String(64), primary_key=True),
    Column("next_at", Millis, nullable=False),
    **MYSQL,
)

# Mails that jobs send, one row a job, written before the mail.
emails = Table(
    "emails",
    metadata,
    Column("job_id", Id, primary_key=True),
    # As in deliveries: pending, sending, sent, refused, unknown.
    Column("status", String(16), nullable=False),
    Column("claimed_at", Millis),
    Column("settled_at", Millis),
    Column("provider_id", String(128)),
    Column("error", String(500)),
    **MYSQL,
)
