"""The two of the guide's tables that Nightshift extends where an application has them already."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from chalicelib.application import MYSQL, metadata
from chalicelib.columns import Id, Millis
from chalicelib.schema.types import LongText, table_name

external_data = Table(
    table_name("external_data"),
    metadata,
    Column("id", Id, primary_key=True),
    Column("external_id", String(255), nullable=False, unique=True),
    Column("data", LongText, nullable=False),
    Column("synced_at", Millis, nullable=False),
    # What follows has defaults, so that whoever writes the guide's columns only goes on as before.
    Column("source", String(64), nullable=False, server_default=""),
    # Of the data: an item that says the same again is not written again.
    Column("content_hash", String(64)),
    # When the source says that it changed; an older state never overwrites a newer one.
    Column("changed_at", Millis),
    # Since when the source, read completely, has it no more.
    Column("missing_since", Millis),
    # All that tells whether an item is known, so that its row is not looked at.
    Index("ix_external_data_source", "source", "external_id", "missing_since", "content_hash"),
    **MYSQL,
)

jobs = Table(
    table_name("jobs"),
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
    # JSON that the job left, where its handler is the application.
    Column("result", LongText),
    Index("ix_jobs_status", "status", "created_at"),
    Index("uq_jobs_unique_key", "unique_key", unique=True),
    # Dispatch walks it by queue and type, so that what is paused costs it nothing.
    Index("ix_jobs_backlog", "queue", "type", "dispatch_at"),
    Index("ix_jobs_ended", "status", "ended_at"),
    **MYSQL,
)
