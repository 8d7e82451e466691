"""Draw docs/pictures/mail.png: the digest at two widths, in light and dark, as headless Chromium shows it.

Run from the root of the repository: PYTHONPATH=. python docs/pictures/mail.py
"""

import html
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chalicelib.mail.composition import compose
from nightshift.demo.blog import make_posts

PICTURE = Path(__file__).with_suffix(".png")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SITE = "https://blog.example.com"
PERSONAL = {"name": "Aoife O'Brien", "unsubscribe_url": f"{SITE}/unsubscribe?token=example"}
NIGHT = datetime(2016, 8, 4, tzinfo=UTC)
PUBLISHED = 240
# Ordinary posts, and those that break careless mails: markup, emoji, Hebrew, one very long word.
SHOWN = (5, 18, 221, 166, 233, 237)
GAP = 24

FRAME = """<iframe style="color-scheme: {scheme}" width="{width}" srcdoc="{mail}"></iframe>"""
# An iframe takes its colour scheme from the element that embeds it, so one page shows both.
PAGE = """<!doctype html>
<meta charset="utf-8">
<style>
  html {{ background: #d9d8d4; }}
  body {{ display: grid; grid-template-columns: auto auto; gap: {gap}px; width: max-content; margin: {gap}px; }}
  iframe {{ border: 0; border-radius: 12px; }}
</style>
{frames}
<script>
  onload = () => {{
    const frames = [...document.querySelectorAll("iframe")];
    const height = Math.max(...frames.map((frame) => frame.contentDocument.documentElement.scrollHeight));
    frames.forEach((frame) => {{ frame.height = height; }});
    document.documentElement.dataset.height = document.body.offsetHeight + 2 * {gap};
  }};
</script>
"""


def render_mail() -> str:
    """Return the digest's HTML as one reader gets it."""
    posts = list(make_posts(PUBLISHED, until=NIGHT, days=1, seed=1))
    keys = ("title", "author", "points", "comments")
    entries = [
        {key: post[key] for key in keys} | {"link": post["url"] or SITE}
        for post in map(posts.__getitem__, reversed(SHOWN))
    ]
    day = f"{NIGHT - timedelta(days=1):%A, %-d %B %Y}"
    composition = compose(
        "digest",
        subject=f"The Night Owl: {PUBLISHED} posts from {day}",
        content={
            "site_name": "The Night Owl",
            "site_url": SITE,
            "day": day,
            "posts": entries,
            "count": PUBLISHED,
            "more": PUBLISHED - len(entries),
        },
    )
    parts = enumerate(composition.html)
    return "".join(html.escape(PERSONAL[part]) if place % 2 else part for place, part in parts)


def draw(browser: str) -> None:
    """Write the picture: first measure the page, then take it in full."""
    mail = html.escape(render_mail())
    frames = [
        FRAME.format(scheme=scheme, width=width, mail=mail) for scheme in ("light", "dark") for width in (700, 375)
    ]
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text(PAGE.format(frames="\n".join(frames), gap=GAP), encoding="utf-8")
        command = [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"),
            "--disable-lcd-text",
            *(f"--user-data-dir={folder}/profile", page.as_uri()),
        ]
        dom = _run([*command, "--dump-dom"])
        measured = re.search(r'data-height="(\d+)"', dom)
        if measured is None:
            raise RuntimeError("Chromium did not measure the page.")
        size = f"{700 + 375 + 3 * GAP},{measured[1]}"
        _run([*command, f"--window-size={size}", f"--screenshot={PICTURE}"])


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout  # noqa: S603


if __name__ == "__main__":
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit(f"The picture needs a browser to draw it: install one of {', '.join(BROWSERS)}.")
    draw(found)
