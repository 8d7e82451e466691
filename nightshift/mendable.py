"""The errors that a person can mend, whatever command or button they come from."""

from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from chalicelib.errors import NightshiftError

MENDABLE = (ValueError, NightshiftError, BotoCoreError, ClientError, SQLAlchemyError)


def reason_of(error: Exception) -> str:
    """Return what is wrong, without what SQLAlchemy puts around it: the statement, its values and a link."""
    return str(error.orig if isinstance(error, DBAPIError) else error)
