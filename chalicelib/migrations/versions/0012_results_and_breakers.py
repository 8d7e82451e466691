"""A job's result, and the breakers of what performs jobs elsewhere."""

import sqlalchemy as sa
from alembic import op

from chalicelib.application import MYSQL
from chalicelib.columns import Millis
from chalicelib.migrations import online
from chalicelib.schema.types import LongText, table_name

revision = "0012"
down_revision = "0011"

JOBS, BREAKERS = table_name("jobs"), table_name("breakers")


def upgrade() -> None:
    """Add the column and the table; a second call changes nothing."""
    online.add_columns(JOBS, [sa.Column("result", LongText)])
    op.create_table(
        BREAKERS,
        sa.Column("name", sa.String(190), primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("failing_since", Millis, nullable=False),
        sa.Column("open_until", Millis, nullable=False),
        sa.Column("probe_until", Millis, nullable=False),
        sa.Column("reason", sa.String(500), nullable=False),
        if_not_exists=True,
        **MYSQL,
    )


def downgrade() -> None:
    """Drop both."""
    op.drop_table(BREAKERS, if_exists=True)
    if "result" in {column["name"] for column in sa.inspect(op.get_bind()).get_columns(JOBS)}:
        with op.batch_alter_table(JOBS) as batch:
            batch.drop_column("result")
