"""The texts that new files begin as: templates/ with values in place of ${…}."""

from pathlib import Path
from string import Template

FOLDER = Path(__file__).parent / "templates"


def fill(template: str, **values: str) -> str:
    """Return a template with these values; what else it has in ${…}, as policies do, stays."""
    return Template((FOLDER / template).read_text(encoding="utf-8")).safe_substitute(values)


def sentence_of(name: str) -> str:
    """Return a name as the sentence that a docstring begins with."""
    return f"{name.replace('_', ' ').capitalize()}."
