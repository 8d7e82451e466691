"""The errors that a person can mend, whatever command or button they come from."""

from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy.exc import SQLAlchemyError

from chalicelib.core.error_text import sentence_of
from chalicelib.core.errors import NightshiftError
from nightshift.deploy.refusal import refusal_of

MENDABLE = (ValueError, NightshiftError, BotoCoreError, ClientError, SQLAlchemyError)


def reason_of(error: Exception) -> str:
    """Return what is wrong, and for what AWS refuses also what to do."""
    return refusal_of(error) if isinstance(error, (BotoCoreError, ClientError)) else sentence_of(error)
