"""The queue: what `jobs` needs beyond the guide's columns, pauses, rate limits and the mails of jobs."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0003"
down_revision = "0002"

ID = sa.String(36).with_variant(sa.CHAR(36), "mysql", "mariadb")
MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4"}

# Every one has a default or may be null: the application's own producers insert without them.
JOB_COLUMNS: list[sa.Column[Any]] = [
    sa.Column("queue", sa.String(16), nullable=False, server_default="work"),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("due_at", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("expires_at", sa.BigInteger),
    sa.Column("dispatch_at", sa.BigInteger, server_default="0"),
    sa.Column("slot_at", sa.BigInteger),
    sa.Column("lease_until", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("claimed_by", sa.String(64)),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("last_error", sa.Text),
    sa.Column("idempotency_key", sa.String(255)),
    sa.Column("unique_key", sa.String(64)),
    sa.Column("unique_until", sa.BigInteger),
    sa.Column("envelope", sa.Text),
]
JOB_INDEXES = {
    "ix_jobs_backlog": ["queue", "type", "dispatch_at"],
    "ix_jobs_ended": ["status", "ended_at"],
    "uq_jobs_unique_key": ["unique_key"],
}


def upgrade() -> None:
    """Extend `jobs` and create the tables; what an interrupted upgrade did already is kept."""
    inspector = sa.inspect(op.get_bind())
    columns = {column["name"]: column for column in inspector.get_columns("jobs")}
    indexes = {index["name"] for index in inspector.get_indexes("jobs")}
    for column in JOB_COLUMNS:
        if column.name not in columns:
            op.add_column("jobs", column.copy())
    # What was finished, or taken by another worker, before the queue came is not for dispatch to send.
    op.execute("UPDATE jobs SET dispatch_at = NULL WHERE status <> 'pending' AND dispatch_at = 0")
    if type(columns["data"]["type"]).__name__ in {"TEXT", "VARCHAR"} and op.get_bind().dialect.name != "sqlite":
        op.alter_column("jobs", "data", type_=MEDIUMTEXT(), existing_nullable=False)
    for name, indexed in JOB_INDEXES.items():
        if name not in indexes:
            op.create_index(name, "jobs", indexed, unique=name.startswith("uq_"))
    op.create_table(
        "pauses",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("paused_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        "rate_slots",
        sa.Column("type", sa.String(64), primary_key=True),
        sa.Column("next_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        "emails",
        sa.Column("job_id", ID, primary_key=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("claimed_at", sa.BigInteger),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("provider_id", sa.String(128)),
        sa.Column("error", sa.String(500)),
        if_not_exists=True,
        **MYSQL,
    )


def downgrade() -> None:
    """Drop the tables, and take from `jobs` what was added to it."""
    for table in ("emails", "rate_slots", "pauses"):
        op.drop_table(table, if_exists=True)
    inspector = sa.inspect(op.get_bind())
    indexes = {index["name"] for index in inspector.get_indexes("jobs")}
    for name in JOB_INDEXES:
        if name in indexes:
            op.drop_index(name, "jobs")
    columns = {column["name"] for column in inspector.get_columns("jobs")}
    with op.batch_alter_table("jobs") as batch:
        for column in JOB_COLUMNS:
            if column.name in columns:
                batch.drop_column(column.name)
