"""The catalogue of backups."""

import sqlalchemy as sa
from alembic import op

from chalicelib.schema.types import table_name

revision = "0005"
down_revision = "0004"

ID = sa.String(36).with_variant(sa.CHAR(36), "mysql", "mariadb")
MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4"}


def upgrade() -> None:
    """Create the table; one that an interrupted upgrade left is kept."""
    op.create_table(
        table_name("backups"),
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("run_id", ID),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("taken_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("verified_at", sa.BigInteger),
        sa.Column("drilled_at", sa.BigInteger),
        sa.Column("removed_at", sa.BigInteger),
        sa.Column("table_count", sa.Integer),
        sa.Column("row_count", sa.BigInteger),
        sa.Column("plain_bytes", sa.BigInteger),
        sa.Column("stored_bytes", sa.BigInteger),
        sa.Column("error", sa.Text),
        if_not_exists=True,
        **MYSQL,
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table(table_name("backups"), if_exists=True)
