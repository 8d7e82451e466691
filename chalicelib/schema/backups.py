"""What was backed up, for people and reports; what counts is what lies in the bucket."""

from sqlalchemy import BigInteger, Column, Integer, String, Table, Text

from chalicelib.application import MYSQL, metadata
from chalicelib.columns import Id, Millis
from chalicelib.schema.types import table_name

backups = Table(
    table_name("backups"),
    metadata,
    # Its folder's name in the bucket, or part of its snapshot's.
    Column("id", String(32), primary_key=True),
    # dump, snapshot
    Column("kind", String(16), nullable=False),
    # Null where it was found in the bucket only.
    Column("run_id", Id),
    # running, finished, failed, removed
    Column("status", String(16), nullable=False),
    # The moment that it holds.
    Column("taken_at", Millis, nullable=False),
    # When its making began; null where it was found in the bucket only.
    Column("started_at", Millis),
    Column("finished_at", Millis),
    Column("verified_at", Millis),
    Column("drilled_at", Millis),
    Column("removed_at", Millis),
    # Null where the manifest was not at hand.
    Column("table_count", Integer),
    Column("row_count", BigInteger),
    Column("plain_bytes", BigInteger),
    Column("stored_bytes", BigInteger),
    Column("error", Text),
    **MYSQL,
)
