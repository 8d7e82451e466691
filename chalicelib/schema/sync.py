"""What the external sync keeps beside the items themselves."""

from sqlalchemy import Column, Index, String, Table, Text

from chalicelib.application import MYSQL, metadata
from chalicelib.columns import Millis
from chalicelib.schema.types import LongText, table_name

# How far each source of the external sync has been read.
sync_states = Table(
    table_name("sync_states"),
    metadata,
    Column("source", String(64), primary_key=True),
    Column("cursor", Text),
    Column("etag", String(255)),
    Column("last_modified", String(64)),
    Column("snapshot_started_at", Millis),
    Column("updated_at", Millis, nullable=False),
    **MYSQL,
)

# Items of a source that could not be taken, once each, with the reason.
quarantine = Table(
    table_name("quarantine"),
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("source", String(64), nullable=False),
    Column("external_id", String(255)),
    Column("reason", String(500), nullable=False),
    Column("data", LongText, nullable=False),
    Column("seen_at", Millis, nullable=False),
    Index("ix_quarantine_source", "source", "seen_at"),
    **MYSQL,
)
