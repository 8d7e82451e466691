"""The tables of mail: digests, the ledger of deliveries and of jobs' mails, and suppressed addresses."""

from sqlalchemy import Column, Integer, String, Table

from chalicelib.application import MYSQL, metadata, users
from chalicelib.columns import Id, Millis
from chalicelib.schema.types import LongText, table_name

digests = Table(
    table_name("digests"),
    metadata,
    # The calendar day of its posts, 2016-08-03; the first run of a day fixes the content for every later one.
    Column("day", String(10), primary_key=True),
    Column("subject", String(255), nullable=False),
    Column("content", LongText, nullable=False),
    Column("post_count", Integer, nullable=False),
    Column("created_at", Millis, nullable=False),
    **MYSQL,
)

deliveries = Table(
    table_name("deliveries"),
    metadata,
    Column("digest_day", String(10), primary_key=True),
    Column("user_id", users.c.id.type, primary_key=True),
    # pending, sending, sent, refused, withdrawn, unknown: docs/lifecycle.md draws the moves.
    Column("status", String(16), nullable=False),
    Column("claimed_at", Millis),
    Column("settled_at", Millis),
    # SES's id; while a mail is being sent, the mark of its sender.
    Column("provider_id", String(128)),
    Column("error", String(500)),
    **MYSQL,
)

# Mails that jobs send, one row a job, written before the mail.
emails = Table(
    table_name("emails"),
    metadata,
    Column("job_id", Id, primary_key=True),
    # As in deliveries: pending, sending, sent, refused, unknown.
    Column("status", String(16), nullable=False),
    Column("claimed_at", Millis),
    Column("settled_at", Millis),
    # SES's id; while a mail is being sent, the mark of its sender.
    Column("provider_id", String(128)),
    Column("error", String(500)),
    **MYSQL,
)

# Addresses that are suppressed, or have bounced: by a digest of the address, exact under any collation.
suppressions = Table(
    table_name("suppressions"),
    metadata,
    Column("address_digest", String(64), primary_key=True),
    Column("address", String(255), nullable=False),
    # permanent bounce, transient bounce, complaint
    Column("reason", String(32), nullable=False),
    Column("detail", String(500)),
    # Transient bounces so far.
    Column("bounces", Integer, nullable=False, server_default="0"),
    # Null while its bounces are only counted.
    Column("suppressed_at", Millis),
    Column("updated_at", Millis, nullable=False),
    **MYSQL,
)
