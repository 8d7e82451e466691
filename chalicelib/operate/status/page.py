"""The status as one self-contained HTML page: no script, no font, no picture."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.core.templates import templates
from chalicelib.core.text import clean
from chalicelib.operate.status.spark import spark
from chalicelib.operate.status.status import Status
from chalicelib.operate.status.strip import LETTERS, summary, title, troubles
from chalicelib.operate.status.words import at, between, day, size, some, took

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
# Persian words and emoji contain these joiners; other invisible characters can reverse or hide text.
JOINERS = "\u200c\u200d"
LEGEND = ("succeeded", "skipped", "running", "missed", "failed", "dead", "none")


def html(status: Status) -> str:
    """Return the page."""
    return environment().get_template("status.html.j2").render(content(status))


def environment(*folders: Path) -> Environment:
    """Return the environment of the page's template, and of other folders' templates that extend it."""
    return templates(TEMPLATES, *folders, clean=visible)


def visible(text: str) -> str:
    """Return the text as the page shows it, with a dot for each invisible character."""
    return "".join(_visible_character(each) for each in clean(text))


def _visible_character(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    return " " if character.isspace() else "·"


def content(status: Status) -> dict[str, Any]:
    """Return what the template is filled with: the status, and the words and figures that show it."""
    now = status.read_at

    def ago(moment: datetime) -> str:
        return f"in {between(now, moment)}" if moment > now else f"{between(moment, now)} ago"

    return {
        "status": status,
        "read_at": f"{now.day} {now.astimezone(UTC):%B %Y, %H:%M:%S} UTC",
        "letters": LETTERS,
        "legend": LEGEND,
        "at": lambda moment: at(moment, now=now),
        "ago": ago,
        "day": lambda date: day(date, now=now),
        "between": between,
        "took": took,
        "size": size,
        "some": some,
        "spark": spark,
        "title": title,
        "summary": lambda days: summary(days, now=now),
        "troubles": lambda days: troubles(days, now=now),
    }
