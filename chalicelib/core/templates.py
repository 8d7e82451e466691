"""Jinja templates: missing values are errors, and every value is escaped and on one line."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.core.text import clean

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def templates(*folders: Path, clean: Callable[[str], str] = clean) -> Environment:
    """Return an environment for the templates of these folders; `clean` is applied to every value that is text.

    Templates named `*.txt.j2` are plain text and are not escaped.
    """
    # Imported late: only mails, reports and pages need Jinja.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

    def prepare(value: Any) -> Any:
        return clean(value) if isinstance(value, str) and not hasattr(value, "__html__") else value

    return Environment(
        loader=FileSystemLoader(folders),
        autoescape=select_autoescape(disabled_extensions=("txt.j2",), default=True),
        finalize=prepare,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
