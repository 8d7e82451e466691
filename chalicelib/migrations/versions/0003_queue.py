"""The queue: what `jobs` needs beyond the guide's columns, pauses, rate limits and the mails of jobs."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import TEXT, VARCHAR

from chalicelib.migrations import online
from chalicelib.schema.types import table_name

revision = "0003"
down_revision = "0002"

ID = sa.String(36).with_variant(sa.CHAR(36), "mysql", "mariadb")
MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4"}

# Of any text, also where the application's table has an older character set.
ANY_TEXT = sa.Text().with_variant(TEXT(charset="utf8mb4"), "mysql", "mariadb")
ANY_KEY = sa.String(255).with_variant(VARCHAR(255, charset="utf8mb4"), "mysql", "mariadb")

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
    sa.Column("last_error", ANY_TEXT),
    sa.Column("idempotency_key", ANY_KEY),
    sa.Column("unique_key", sa.String(64)),
    sa.Column("unique_until", sa.BigInteger),
    sa.Column("envelope", sa.Text),
]
NAME = table_name("jobs")
JOBS = sa.table(NAME, sa.column("id"), sa.column("status"), sa.column("ended_at"), sa.column("dispatch_at"))
JOB_INDEXES = {
    "ix_jobs_backlog": ["queue", "type", "dispatch_at"],
    "ix_jobs_ended": ["status", "ended_at"],
    "uq_jobs_unique_key": ["unique_key"],
}


def upgrade() -> None:
    """Extend `jobs` and create the tables; what an interrupted upgrade did already is kept."""
    # What was finished, or taken by another worker, before the queue came is not for dispatch to send.
    if op.get_bind().dialect.name == "sqlite":
        online.add_columns(NAME, JOB_COLUMNS)
        op.execute(sa.update(JOBS).where(JOBS.c.status != "pending", JOBS.c.dispatch_at == 0).values(dispatch_at=None))
        online.add_indexes(NAME, JOB_INDEXES)
    else:
        _extend_in_use()
    op.create_table(
        table_name("pauses"),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("paused_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        table_name("rate_slots"),
        sa.Column("type", sa.String(64), primary_key=True),
        sa.Column("next_at", sa.Double, nullable=False),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        table_name("emails"),
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
        op.drop_table(table_name(table), if_exists=True)
    inspector = sa.inspect(op.get_bind())
    indexes = {index["name"] for index in inspector.get_indexes(NAME)}
    for name in (*JOB_INDEXES, "ix_jobs_dispatch"):
        if name in indexes:
            op.drop_index(name, NAME)
    columns = {column["name"] for column in inspector.get_columns(NAME)}
    with op.batch_alter_table(NAME) as batch:
        for column in JOB_COLUMNS:
            if column.name in columns:
                batch.drop_column(column.name)


def _extend_in_use() -> None:
    """Extend `jobs` without writing to rows that are over: there may be millions, and few that wait."""
    without_default = sa.Column("dispatch_at", sa.BigInteger)
    online.add_columns(NAME, [without_default if each.name == "dispatch_at" else each for each in JOB_COLUMNS])
    online.add_indexes(NAME, JOB_INDEXES | {"ix_jobs_status": ["status", "created_at"]})
    online.set_default(NAME, "dispatch_at", "0")
    # Those that the application inserts from here on have the default.
    waiting = sa.and_(JOBS.c.status == "pending", JOBS.c.ended_at.is_(None), JOBS.c.dispatch_at.is_(None))
    online.set_in_chunks(JOBS, waiting, {"dispatch_at": 0})
