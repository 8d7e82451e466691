"""An index by which the run of a task is found that ended last."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

INDEX = "ix_runs_ended"


def upgrade() -> None:
    """Create the index, unless an interrupted upgrade has."""
    if INDEX not in _indexes():
        op.create_index(INDEX, "runs", ["task", "finished_at"])


def downgrade() -> None:
    """Drop the index."""
    if INDEX in _indexes():
        op.drop_index(INDEX, "runs")


def _indexes() -> set[str | None]:
    return {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("runs")}
