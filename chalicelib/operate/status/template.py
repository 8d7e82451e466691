"""The templates of the status page: every value escaped, on one line, and in the direction that its letters have."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.mail.text import clean

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).parent / "templates"
# Persian words and emoji are made with them. What turns text around, or hides it, is made visible.
JOINERS = "\u200c\u200d"


def shown(text: str) -> str:
    """Return the text as the page shows it, with a dot for each character that cannot be seen."""
    return "".join(_visible(each) for each in clean(text))


@cache
def environment(*, besides: Sequence[Path] = ()) -> Environment:
    """Return what renders this folder's templates, and those of other folders that extend them."""
    # Imported late: of all that Lambda does, few functions need Jinja.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([FOLDER, *besides]),
        autoescape=True,
        finalize=lambda value: shown(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _visible(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    return " " if character.isspace() else "·"
