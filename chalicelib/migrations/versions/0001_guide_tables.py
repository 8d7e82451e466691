"""The guide's tables, which an application usually has already: created where missing, never dropped."""

from alembic import op

from chalicelib.application import metadata
from chalicelib.schema import GUIDE_TABLES

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables that the application lacks; docs/data.md says which indexes its own should have."""
    # These are the application's to change, so this creates them as they are declared today.
    metadata.create_all(op.get_bind(), tables=GUIDE_TABLES, checkfirst=True)


def downgrade() -> None:
    """Leave them: they hold the application's data."""
