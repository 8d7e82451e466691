"""The schedules that the watch has seen, what a run was asked with, and an index of those that are not over."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from chalicelib.migrations import online
from chalicelib.schema.types import table_name

revision = "0007"
down_revision = "0006"

INDEX = "ix_runs_status"
LONG_TEXT = sa.Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4"}


def upgrade() -> None:
    """Create the table, the column and the index, unless an interrupted upgrade has."""
    op.create_table(
        table_name("schedules"),
        sa.Column("task", sa.String(64), primary_key=True),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("checked_until", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **MYSQL,
    )
    online.add_columns(table_name("runs"), [sa.Column("options", LONG_TEXT)])
    online.add_indexes(table_name("runs"), {INDEX: ["status", "task"]})


def downgrade() -> None:
    """Drop the index, the column and the table."""
    if INDEX in _indexes():
        op.drop_index(INDEX, table_name("runs"))
    if "options" in _columns():
        with op.batch_alter_table(table_name("runs")) as batch:
            batch.drop_column("options")
    op.drop_table(table_name("schedules"), if_exists=True)


def _columns() -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table_name("runs"))}


def _indexes() -> set[str | None]:
    return {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table_name("runs"))}
