"""What the other scheduled tasks keep: activity, the external sync's state and quarantine, and suppressed addresses."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from chalicelib.migrations import online
from chalicelib.migrations.references import user_id_type
from chalicelib.schema.types import table_name

revision = "0004"
down_revision = "0003"

ID = sa.String(36).with_variant(sa.CHAR(36), "mysql", "mariadb")
LONG_TEXT = sa.Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4"}

# Every one has a default or may be null: the application's own writers insert without them.
EXTERNAL_COLUMNS: list[sa.Column[Any]] = [
    sa.Column("source", sa.String(64), nullable=False, server_default=""),
    sa.Column("content_hash", sa.String(64)),
    sa.Column("changed_at", sa.BigInteger),
    sa.Column("missing_since", sa.BigInteger),
]


def upgrade() -> None:
    """Extend `external_data` and create the tables; what an interrupted upgrade did already is kept."""
    online.add_columns(table_name("external_data"), EXTERNAL_COLUMNS)
    # 0006 gives it more columns.
    if "ix_external_data_source" not in _indexes(table_name("external_data")):
        online.add_indexes(table_name("external_data"), {"ix_external_data_source": ["source", "synced_at"]})
    op.create_table(
        table_name("activity"),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("user_id", user_id_type(), primary_key=True),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        table_name("activity_days"),
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("users", sa.Integer, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        table_name("month_figures"),
        sa.Column("month", sa.String(7), primary_key=True),
        sa.Column("new_users", sa.Integer, nullable=False),
        sa.Column("new_posts", sa.Integer, nullable=False),
        sa.Column("active_users", sa.Integer),
        sa.Column("counted_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        table_name("sync_states"),
        sa.Column("source", sa.String(64), primary_key=True),
        sa.Column("cursor", sa.Text),
        sa.Column("etag", sa.String(255)),
        sa.Column("last_modified", sa.String(64)),
        sa.Column("snapshot_started_at", sa.BigInteger),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **MYSQL,
    )
    op.create_table(
        table_name("quarantine"),
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("external_id", sa.String(255)),
        sa.Column("reason", sa.String(500), nullable=False),
        sa.Column("data", LONG_TEXT, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **MYSQL,
    )
    if "ix_quarantine_source" not in _indexes(table_name("quarantine")):
        op.create_index("ix_quarantine_source", table_name("quarantine"), ["source", "seen_at"])
    op.create_table(
        table_name("suppressions"),
        sa.Column("address_digest", sa.String(64), primary_key=True),
        sa.Column("address", sa.String(255), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("detail", sa.String(500)),
        sa.Column("bounces", sa.Integer, nullable=False, server_default="0"),
        sa.Column("suppressed_at", sa.BigInteger),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **MYSQL,
    )


def downgrade() -> None:
    """Drop the tables, and take from `external_data` what was added to it."""
    for table in ("suppressions", "quarantine", "sync_states", "month_figures", "activity_days", "activity"):
        op.drop_table(table_name(table), if_exists=True)
    inspector = sa.inspect(op.get_bind())
    if "ix_external_data_source" in {index["name"] for index in inspector.get_indexes(table_name("external_data"))}:
        op.drop_index("ix_external_data_source", table_name("external_data"))
    columns = {column["name"] for column in inspector.get_columns(table_name("external_data"))}
    with op.batch_alter_table(table_name("external_data")) as batch:
        for column in EXTERNAL_COLUMNS:
            if column.name in columns:
                batch.drop_column(column.name)


def _indexes(table: str) -> set[str | None]:
    return {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}
