"""The database of an environment, connected to as deployed functions do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine


def engine_of(environment: Mapping[str, str]) -> Engine:
    """Return the engine of DATABASE_URL, with DATABASE_CREDENTIALS and DATABASE_CA. Raises ConfigurationError."""
    from chalicelib.core.engine import engine_for

    credentials, ca = environment.get("DATABASE_CREDENTIALS"), environment.get("DATABASE_CA")
    return engine_for(environment["DATABASE_URL"], credentials=credentials or None, ca=ca or None)
