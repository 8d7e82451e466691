"""What the mail that announces a report says; `compose("report", ...)` makes a mail of it."""

from typing import Any

from chalicelib.tasks.monthly_report.cards import cards
from chalicelib.tasks.monthly_report.figures import Report

MAX_POSTS = 5


def mail_content(report: Report, *, link: str) -> dict[str, Any]:
    """Return the content of the mail; `link` leads to the full report. Raises ValueError for one not of the web."""
    if not link.startswith(("https://", "http://")):
        raise ValueError("The link to a report begins with https:// or http://.")
    return {
        "site_name": report.site_name,
        "site_url": report.site_url,
        "month": report.month.name,
        "cards": cards(report),
        "posts": report.top_posts[:MAX_POSTS],
        "link": link,
    }
