"""The run history, the composed digests and the delivery ledger."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from chalicelib.migrations.references import user_id_type
from chalicelib.schema.types import table_name

revision = "0002"
down_revision = "0001"

ID = sa.String(36).with_variant(sa.CHAR(36), "mysql", "mariadb")
LONG_TEXT = sa.Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4"}


def upgrade() -> None:
    """Create the tables; those that an interrupted upgrade made already are kept, for MySQL cannot roll them back."""
    op.create_table(
        table_name("runs"),
        sa.Column("id", ID, primary_key=True),
        sa.Column("task", sa.String(64), nullable=False),
        sa.Column("scheduled_for", sa.BigInteger, nullable=False),
        sa.Column("trigger", sa.String(16), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("checkpoint", LONG_TEXT),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        *(
            sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
            for name in ("total", "succeeded", "failed", "skipped")
        ),
        sa.Column("error_type", sa.String(128)),
        sa.Column("error", sa.Text),
        sa.UniqueConstraint("task", "scheduled_for", name="uq_runs_fire"),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        table_name("digests"),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("content", LONG_TEXT, nullable=False),
        sa.Column("post_count", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        table_name("deliveries"),
        sa.Column("digest_day", sa.String(10), primary_key=True),
        sa.Column("user_id", user_id_type(), primary_key=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("claimed_at", sa.BigInteger),
        sa.Column("settled_at", sa.BigInteger),
        sa.Column("provider_id", sa.String(128)),
        sa.Column("error", sa.String(500)),
        if_not_exists=True,
        **MYSQL,
    )


def downgrade() -> None:
    """Drop the run history, the digests and the ledger."""
    for table in ("deliveries", "digests", "runs"):
        op.drop_table(table_name(table), if_exists=True)
