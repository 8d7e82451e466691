"""The status as one page of HTML that asks for nothing else: no script, no font, no picture."""

from datetime import UTC, datetime
from typing import Any

from chalicelib.operate.status.spark import spark
from chalicelib.operate.status.status import Status
from chalicelib.operate.status.strip import LETTERS, summary, title, troubles
from chalicelib.operate.status.template import environment
from chalicelib.operate.status.words import at, between, day, size, some, took

LEGEND = ("succeeded", "skipped", "running", "missed", "failed", "dead", "none")


def html(status: Status) -> str:
    """Return the page."""
    return environment().get_template("status.html.j2").render(content(status))


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
