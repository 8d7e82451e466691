"""Draw docs/pictures/mail.png: the digest at two widths, in light and dark, as headless Chromium shows it.

Run from the root of the repository: PYTHONPATH=. python docs/pictures/mail.py
"""

import html
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from chalicelib.mail.composition import compose
from nightshift.demo.blog import make_posts

PICTURE = Path(__file__).with_suffix(".png")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SITE = "https://blog.example.com"
PERSONAL = {"name": "Aoife O'Brien", "unsubscribe_url": f"{SITE}/unsubscribe?token=example"}
NIGHT = datetime(2016, 8, 4, tzinfo=UTC)
PUBLISHED = 240
# Ordinary posts, and those that break careless mails: markup, emoji, a script that runs from right to left.
SHOWN = (237, 233, 166, 221, 18, 5)
SCHEMES = ("light", "dark")
WIDTHS = (700, 375)
GAP = 24
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-lcd-text"),
)

# A document prefers the colour scheme of the iframe around it, so one page shows both.
FRAME = '<iframe style="color-scheme: {scheme}" width="{width}" srcdoc="{mail}"></iframe>'
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
    entries = [{key: posts[place][key] for key in keys} | {"link": posts[place]["url"] or SITE} for place in SHOWN]
    day = "Wednesday, 3 August 2016"
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
    """Write the picture: measure the page, then take it in full."""
    mail = html.escape(render_mail())
    frames = [FRAME.format(scheme=scheme, width=width, mail=mail) for scheme in SCHEMES for width in WIDTHS]
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.html")
        page.write_text(PAGE.format(frames="\n".join(frames), gap=GAP), encoding="utf-8")
        command = [browser, *FLAGS, f"--user-data-dir={folder}/profile", page.as_uri()]
        measured = re.search(r'data-height="(\d+)"', _run([*command, "--dump-dom"]))
        if measured is None:
            sys.exit(f"{browser} did not run the page that measures the mail.")
        size = f"{sum(WIDTHS) + 3 * GAP},{measured[1]}"
        _run([*command, f"--window-size={size}", f"--screenshot={PICTURE}"])


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout  # noqa: S603


if __name__ == "__main__":
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit(f"The picture needs a browser to draw it: install one of {', '.join(BROWSERS)}.")
    draw(found)
