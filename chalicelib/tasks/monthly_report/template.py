"""Rendering the report's own templates: every value escaped, and on one line."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.mail.text import clean

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **content: Any) -> str:
    """Return a template of this package filled with the content. Raises UndefinedError where a value is missing."""
    return _environment().get_template(template).render(content)


@cache
def _environment() -> Environment:
    # Imported late: of all that Lambda does, only the report and the composing of mails need Jinja.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        finalize=lambda value: clean(value) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
