"""What the commands share of the terminal: where they print, and how an error becomes a sentence."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

# Made before anything redirects standard output, so that it stays with the terminal.
# No emoji: text between two colons may be part of an id.
console = Console(file=sys.stdout, highlight=False, soft_wrap=True, emoji=False)


def plain(text: object) -> str:
    """Return the text in one line, without what a terminal would obey: errors and rows may hold anything."""
    return "".join(c if c.isprintable() else "·" for c in " ".join(str(text).split()))


@contextmanager
def sentences() -> Iterator[None]:
    """Turn what a person can mend into one sentence on standard error, and exit code 1."""
    from botocore.exceptions import BotoCoreError, ClientError
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    from chalicelib.errors import NightshiftError

    try:
        yield
    except (ValueError, NightshiftError, BotoCoreError, ClientError, SQLAlchemyError) as error:
        # Without SQLAlchemy's own words around the driver's: the statement, its values and a link.
        reason = error.orig if isinstance(error, DBAPIError) else error
        Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(
            f"nightshift: {plain(reason)}", markup=False
        )
        raise typer.Exit(1) from None
