"""An index by which dispatch finds due jobs of one queue and type, longer checkpoints, and finer turns."""

import sqlalchemy as sa
from alembic import op

from chalicelib.migrations import online
from chalicelib.schema.types import table_name

revision = "0009"
down_revision = "0008"

JOB_INDEXES = {
    "ix_jobs_backlog": ["queue", "type", "dispatch_at"],
    # Tables that the application had before may lack it.
    "ix_jobs_status": ["status", "created_at"],
}


def upgrade() -> None:
    """Make the indexes by one change, in which the old one goes, and widen columns of Nightshift's own tables."""
    online.add_indexes(table_name("jobs"), JOB_INDEXES, instead_of=["ix_jobs_dispatch"])
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    if _type(table_name("rate_slots"), "next_at") != "DOUBLE":
        if is_sqlite:
            with op.batch_alter_table(table_name("rate_slots")) as batch:
                batch.alter_column("next_at", type_=sa.Double(), existing_nullable=False)
        else:
            online.change_freely(table_name("rate_slots"), "MODIFY next_at DOUBLE NOT NULL")
    if _type(table_name("runs"), "checkpoint") == "TEXT" and not is_sqlite:
        # A copy, in which only Nightshift's own functions wait: they alone write here.
        online.change_freely(table_name("runs"), "MODIFY checkpoint MEDIUMTEXT")


def downgrade() -> None:
    """Leave it: code of the revision before works with these too, and 0003 takes the indexes away."""


def _type(table: str, name: str) -> str:
    columns = sa.inspect(op.get_bind()).get_columns(table)
    return next(type(column["type"]).__name__ for column in columns if column["name"] == name)
