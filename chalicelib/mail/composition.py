"""A mail composed once for many: rendered templates with holes where each recipient's own values go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.mail.text import clean

if TYPE_CHECKING:
    from jinja2 import Environment

PERSONAL = ("name", "unsubscribe_url")

# Marks a hole in rendered text. `clean` takes it out of every value, so no title or name can forge one.
HOLE = "\x00"


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A subject, and HTML and text parts as lists: literals at even places, names of personal values at odd."""

    subject: str
    html: tuple[str, ...]
    text: tuple[str, ...]

    def to_json(self) -> str:
        """Return the composition as stored in the `digests` table."""
        return json.dumps(asdict(self), ensure_ascii=False)


def from_json(stored: str) -> Composition:
    """Return a stored composition."""
    values = json.loads(stored)
    return Composition(subject=values["subject"], html=tuple(values["html"]), text=tuple(values["text"]))


def compose(template: str, *, subject: str, content: Mapping[str, Any]) -> Composition:
    """Render `<template>.html.j2` and `<template>.txt.j2` with the content, leaving each recipient's values open."""
    # Imported late, as Jinja is: the worker loads what is composed already, and composes nothing.
    from markupsafe import Markup

    personal = {name: Markup(f"{HOLE}{name}{HOLE}") for name in PERSONAL}  # noqa: S704 (ours alone)
    rendered = {
        kind: _environment(autoescape=kind == "html")
        .get_template(f"{template}.{kind}.j2")
        .render(content, subject=subject, personal=personal)
        for kind in ("html", "txt")
    }
    return Composition(
        subject=clean(subject),
        html=tuple(rendered["html"].split(HOLE)),
        text=tuple(rendered["txt"].split(HOLE)),
    )


@cache
def _environment(*, autoescape: bool) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=autoescape,  # noqa: S701 (off for the plain text only)
        finalize=lambda value: clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
