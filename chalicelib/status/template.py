"""The templates of the status page: every value escaped, and on one line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.mail.text import clean

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent / "templates"


@cache
def environment(*, besides: Sequence[Path] = ()) -> Environment:
    """Return what renders this folder's templates, and those of other folders that extend them."""
    # Imported late: of all that Lambda does, few functions need Jinja.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([FOLDER, *besides]),
        autoescape=True,
        finalize=lambda value: clean(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
