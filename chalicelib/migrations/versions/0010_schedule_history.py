"""The schedules that a task has had since its fires were last decided about."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

from chalicelib.schema.types import table_name

revision = "0010"
down_revision = "0009"

COLUMN = "history"
LONG_TEXT = sa.Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    """Add the column, unless an interrupted upgrade has."""
    if COLUMN not in _columns():
        op.add_column(table_name("schedules"), sa.Column(COLUMN, LONG_TEXT))


def downgrade() -> None:
    """Drop the column."""
    if COLUMN in _columns():
        with op.batch_alter_table(table_name("schedules")) as batch:
            batch.drop_column(COLUMN)


def _columns() -> set[str]:
    return {column["name"] for column in sa.inspect(op.get_bind()).get_columns(table_name("schedules"))}
