"""An index by which the run of a task is found that ended last, and what the watch has decided about pauses."""

import sqlalchemy as sa
from alembic import op

from chalicelib.migrations import online
from chalicelib.schema.types import table_name

revision = "0008"
down_revision = "0007"

INDEX = "ix_runs_ended"
RUNS = sa.table(table_name("runs"), *map(sa.column, ("task", "status", "error_type", "scheduled_for")))
SCHEDULES = sa.table(table_name("schedules"), sa.column("task"), sa.column("checked_until"))


def upgrade() -> None:
    """Create the index, unless an interrupted upgrade has, and mark the fires that are decided about."""
    online.add_indexes(RUNS.name, {INDEX: ["task", "finished_at"]})
    paused = sa.and_(RUNS.c.status == "missed", RUNS.c.error_type == "PausedError")
    checked_until = sa.select(SCHEDULES.c.checked_until).where(SCHEDULES.c.task == RUNS.c.task).scalar_subquery()
    op.execute(sa.update(RUNS).where(paused, RUNS.c.scheduled_for <= checked_until).values(error_type="HeldBackError"))


def downgrade() -> None:
    """Drop the index."""
    if INDEX in _indexes():
        op.drop_index(INDEX, RUNS.name)


def _indexes() -> set[str | None]:
    return {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(RUNS.name)}
