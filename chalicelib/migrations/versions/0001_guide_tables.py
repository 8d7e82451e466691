"""The guide's tables, which an application usually has already: created where missing, never dropped."""

from chalicelib.application import created_if_missing
from chalicelib.migrations import online
from chalicelib.schema import external_data, jobs

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables that the application lacks; docs/data.md says which indexes its own should have."""
    # These are the application's to change, so this creates them as they are declared today.
    for table in (*created_if_missing, external_data, jobs):
        online.create_table(table)


def downgrade() -> None:
    """Leave them: they hold the application's data."""
