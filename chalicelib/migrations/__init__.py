"""Migrations of the database, run with Alembic from code: no alembic.ini, and the same call everywhere."""

from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest revision; tables that the application has already are left as they are."""
    if current(engine) == newest():
        return
    with engine.begin() as connection:
        command.upgrade(_config(connection), "head")


def downgrade(engine: Engine, *, to: str) -> None:
    """Take the database back to a revision, or to "base": then nothing of Nightshift's own is left."""
    with engine.begin() as connection:
        command.downgrade(_config(connection), to)


def current(engine: Engine) -> str | None:
    """Return the revision that the database is at, None for one that was never migrated."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


@cache
def newest() -> str | None:
    """Return the revision that this code expects."""
    return ScriptDirectory.from_config(_config(None)).get_current_head()


def _config(connection: Any) -> Config:
    config = Config()
    # Alembic reads `%` in its options as interpolation, and a checkout's path may hold one.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
