"""The reason of a missed fire is a word of its own, no longer the name of an exception's class."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

WORDS = {"AbsentError": "no_fire", "OverlapError": "overlap", "PausedError": "paused", "HeldBackError": "held_back"}


def upgrade() -> None:
    """Rename the reasons; a second call changes nothing."""
    _rename(WORDS)


def downgrade() -> None:
    """Rename them back."""
    _rename({new: old for old, new in WORDS.items()})


def _rename(words: dict[str, str]) -> None:
    statement = sa.text("UPDATE runs SET error_type = :new WHERE status = 'missed' AND error_type = :old")
    for old, new in words.items():
        op.get_bind().execute(statement, {"old": old, "new": new})
