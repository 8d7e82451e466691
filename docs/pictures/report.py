"""Draw docs/pictures/report.png: a monthly report, wide and narrow, in light and dark, as headless Chromium shows it.

Run from the root of the repository: PYTHONPATH=. python docs/pictures/report.py
"""

from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path

from chalicelib.tasks.monthly_report import page
from chalicelib.tasks.monthly_report.figures import MonthFigures, Report, TopPost
from chalicelib.tasks.monthly_report.month import Month
from docs.pictures.browser import take_page
from nightshift.demo.blog import make_posts

PICTURE = Path(__file__).with_suffix(".png")
SITE = "https://blog.example.com"
END = datetime(2026, 3, 1, tzinfo=UTC)
FIRST = Month.parse("2025-02")
NEW_USERS = (212, 248, 231, 264, 259, 187, 143, 296, 341, 368, 302, 389, 437)
NEW_POSTS = (88, 97, 91, 104, 99, 72, 58, 101, 117, 124, 96, 131, 119)
# The first two months were over before Nightshift began to record.
ACTIVE_USERS = (None, None, 1604, 1712, 1689, 1377, 1120, 1846, 2093, 2240, 1985, 2418, 2671)
PUBLISHED = 240
# Ordinary posts, and those that break careless pages: markup, emoji, a script that runs from right to left.
SHOWN = (237, 166, 233, 221, 18, 5)
WIDE = 1100


def make_report() -> Report:
    """Return a report of made-up figures."""
    months = accumulate(NEW_USERS[1:], lambda month, _: month.next(), initial=FIRST)
    figures = zip(months, NEW_USERS, NEW_POSTS, ACTIVE_USERS, strict=True)
    posts = list(make_posts(PUBLISHED, until=END, days=28, seed=1))
    keys = ("title", "author", "points", "comments")
    top = [TopPost(link=posts[place]["url"] or SITE, **{key: posts[place][key] for key in keys}) for place in SHOWN]
    return Report(
        months=tuple(
            MonthFigures(month=month, new_users=users, new_posts=new_posts, active_users=active)
            for month, users, new_posts, active in figures
        ),
        top_posts=tuple(sorted(top, key=lambda post: post.points, reverse=True)),
        computed_at=END.replace(hour=6),
        site_name="The Night Owl",
        site_url=SITE,
    )


if __name__ == "__main__":
    take_page(page.html(make_report()), PICTURE, wide=WIDE)
