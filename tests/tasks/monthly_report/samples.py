"""A report of made-up figures, and what stands in a page as a browser reads it."""

from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

from chalicelib.tasks.monthly_report.figures import MonthFigures, Report, TopPost
from chalicelib.tasks.monthly_report.month import Month

FEBRUARY = Month.parse("2026-02")


def months(*active_users: int | None) -> tuple[MonthFigures, ...]:
    """Return months up to February 2026 with these active users; each has 10 users and 5 posts more than the last."""
    month = FEBRUARY
    figures: list[MonthFigures] = []
    for place, active in reversed(list(enumerate(active_users))):
        users, posts = 100 + 10 * place, 50 + 5 * place
        figures.append(MonthFigures(month=month, new_users=users, new_posts=posts, active_users=active))
        month = month.previous()
    return tuple(reversed(figures))


def post(**changed: Any) -> TopPost:
    values: dict[str, Any] = {
        "title": "Hello",
        "link": "https://blog.example.com/hello",
        "author": "Zoë",
        "points": 3,
        "comments": 1,
    }
    return TopPost(**values | changed)


def report(**changed: Any) -> Report:
    values: dict[str, Any] = {
        "months": months(None, None, *range(900, 2000, 100)),
        "top_posts": (post(),),
        "computed_at": datetime(2026, 3, 1, 6, tzinfo=UTC),
        "site_name": "The Night Owl",
        "site_url": "https://blog.example.com",
    }
    return Report(**values | changed)


class Page(HTMLParser):
    """The tags of a page with their attributes, and its words."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._words: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self._words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self._words)

    @property
    def links(self) -> list[str | None]:
        return [value for name, value in self.attributes if name == "href"]
