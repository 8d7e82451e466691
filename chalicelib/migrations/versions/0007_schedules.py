"""The schedules that the watch has seen, and what a run was asked with."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4"}


def upgrade() -> None:
    """Create the table and the column, unless an interrupted upgrade has."""
    op.create_table(
        "schedules",
        sa.Column("task", sa.String(64), primary_key=True),
        sa.Column("text", sa.String(255), nullable=False),
        sa.Column("checked_until", sa.BigInteger, nullable=False),
        if_not_exists=True,
        **MYSQL,
    )
    if "options" not in _columns():
        op.add_column("runs", sa.Column("options", sa.Text))


def downgrade() -> None:
    """Drop the column and the table."""
    if "options" in _columns():
        with op.batch_alter_table("runs") as batch:
            batch.drop_column("options")
    op.drop_table("schedules", if_exists=True)


def _columns() -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns("runs")}
