"""An index by which the run of a task is found that ended last, and what the watch has decided about pauses."""

import sqlalchemy as sa
from alembic import op

from chalicelib.migrations import online

revision = "0008"
down_revision = "0007"

INDEX = "ix_runs_ended"


def upgrade() -> None:
    """Create the index, unless an interrupted upgrade has, and mark the fires that are decided about."""
    online.add_indexes("runs", {INDEX: ["task", "finished_at"]})
    op.execute(
        "UPDATE runs SET error_type = 'HeldBackError' WHERE status = 'missed' AND error_type = 'PausedError'"
        " AND scheduled_for <= (SELECT checked_until FROM schedules WHERE schedules.task = runs.task)"
    )


def downgrade() -> None:
    """Drop the index."""
    if INDEX in _indexes():
        op.drop_index(INDEX, "runs")


def _indexes() -> set[str | None]:
    return {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("runs")}
