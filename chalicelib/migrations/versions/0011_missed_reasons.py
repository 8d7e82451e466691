"""The reason of a missed fire is a word of its own, no longer the name of an exception's class."""

import sqlalchemy as sa
from alembic import op

from chalicelib.schema.types import table_name

revision = "0011"
down_revision = "0010"

RUNS = sa.table(table_name("runs"), sa.column("status"), sa.column("error_type"))
WORDS = {"AbsentError": "no_fire", "OverlapError": "overlap", "PausedError": "paused", "HeldBackError": "held_back"}


def upgrade() -> None:
    """Rename the reasons; a second call changes nothing."""
    _rename(WORDS)


def downgrade() -> None:
    """Rename them back."""
    _rename({new: old for old, new in WORDS.items()})


def _rename(words: dict[str, str]) -> None:
    for old, new in words.items():
        missed = sa.and_(RUNS.c.status == "missed", RUNS.c.error_type == old)
        op.execute(sa.update(RUNS).where(missed).values(error_type=new))
