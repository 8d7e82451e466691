"""Draw docs/pictures/mail.png: the digest at two widths, in light and dark, as headless Chromium shows it.

Run from the root of the repository: PYTHONPATH=. python docs/pictures/mail.py
"""

import html
from datetime import UTC, datetime
from pathlib import Path

from chalicelib.mail.letter import compose
from docs.pictures.browser import take
from nightshift.demo.blog import make_posts

PICTURE = Path(__file__).with_suffix(".png")
SITE = "https://blog.example.com"
PERSONAL = {"name": "Aoife O'Brien", "unsubscribe_url": f"{SITE}/unsubscribe?token=example"}
NIGHT = datetime(2016, 8, 4, tzinfo=UTC)
PUBLISHED = 240
# Ordinary posts, and those that break careless mails: markup, emoji, a script that runs from right to left.
SHOWN = (237, 233, 166, 221, 18, 5)
SCHEMES = ("light", "dark")
WIDTHS = (700, 375)
GAP = 24

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


def draw() -> None:
    """Write the picture."""
    mail = html.escape(render_mail())
    frames = [FRAME.format(scheme=scheme, width=width, mail=mail) for scheme in SCHEMES for width in WIDTHS]
    take(PAGE.format(frames="\n".join(frames), gap=GAP), PICTURE, width=sum(WIDTHS) + 3 * GAP)


if __name__ == "__main__":
    draw()
