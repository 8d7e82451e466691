"""The index of `external_data` holds all that tells whether an item is known."""

import sqlalchemy as sa
from alembic import op

from chalicelib.migrations import online
from chalicelib.schema.types import table_name

revision = "0006"
down_revision = "0005"

NAME, TABLE = "ix_external_data_source", table_name("external_data")
BEFORE = ["source", "synced_at"]
AFTER = ["source", "external_id", "missing_since", "content_hash"]


def upgrade() -> None:
    """Make the index anew; one that an interrupted upgrade dropped or made is taken as it is."""
    _replace(AFTER)


def downgrade() -> None:
    """Make the index as it was."""
    _replace(BEFORE)


def _replace(columns: list[str]) -> None:
    indexes = {index["name"]: index["column_names"] for index in sa.inspect(op.get_bind()).get_indexes(TABLE)}
    if indexes.get(NAME) == columns:
        return
    instead_of = [NAME] if NAME in indexes else []
    online.add_indexes(TABLE, {NAME: columns}, instead_of=instead_of)
