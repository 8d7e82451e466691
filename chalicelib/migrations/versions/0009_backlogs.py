"""Dispatch finds due jobs by queue and type, so the index by time alone makes way for one by all three."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

OLD, NEW = "ix_jobs_dispatch", "ix_jobs_backlog"


def upgrade() -> None:
    """Create the new index before the old one goes, so that dispatch never has neither."""
    if NEW not in _indexes():
        op.create_index(NEW, "jobs", ["queue", "type", "dispatch_at"])
    if OLD in _indexes():
        op.drop_index(OLD, "jobs")


def downgrade() -> None:
    """Leave it: code of the revision before finds due jobs without the old index too, and 0003 takes it away."""


def _indexes() -> set[str | None]:
    return {index["name"] for index in sa.inspect(op.get_bind()).get_indexes("jobs")}
