"""What the commands share of the terminal: where they print, and how an error becomes a sentence."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

# Made before anything redirects standard output, so that it stays with the terminal.
console = Console(file=sys.stdout, highlight=False, soft_wrap=True)


@contextmanager
def sentences() -> Iterator[None]:
    """Turn what a person can mend into one sentence on standard error, and exit code 1."""
    from botocore.exceptions import BotoCoreError, ClientError
    from sqlalchemy.exc import SQLAlchemyError

    from chalicelib.errors import NightshiftError

    try:
        yield
    except (ValueError, NightshiftError, BotoCoreError, ClientError, SQLAlchemyError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"nightshift: {error}", markup=False)
        raise typer.Exit(1) from None
