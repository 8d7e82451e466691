"""The errors that a user can fix: each becomes one message, on standard error or on the page of `nightshift dev`."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from nightshift.cli.output import print_error


class UsageError(ValueError):
    """An option or argument is invalid, whatever the deployment."""


def message_of(error: Exception) -> str | None:
    """Return what is wrong and what to do, or None for an error that only a change of code can fix."""
    # Imported late: a command that succeeds needs none of it.
    from botocore.exceptions import BotoCoreError, ClientError
    from sqlalchemy.exc import SQLAlchemyError

    from chalicelib.core.error_text import sentence_of
    from chalicelib.core.errors import NightshiftError
    from nightshift.deploy.refusal import refusal_of

    if isinstance(error, (BotoCoreError, ClientError)):
        return refusal_of(error)
    return sentence_of(error) if isinstance(error, (ValueError, NightshiftError, SQLAlchemyError)) else None


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Print an error that the user can fix as one line and exit with 1, or with 2 for a UsageError."""
    try:
        yield
    except Exception as error:
        message = message_of(error)
        if message is None:
            raise
        print_error(message)
        raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None
