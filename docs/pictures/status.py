"""Draw docs/pictures/status.png: the status page, wide and narrow, in light and dark, as headless Chromium shows it.

Run from the root of the repository: PYTHONPATH=. python docs/pictures/status.py
"""

import html
from pathlib import Path

from chalicelib.status import page
from docs.pictures.browser import take
from nightshift.demo.nights import read_example

PICTURE = Path(__file__).with_suffix(".png")
SCHEMES = ("light", "dark")
WIDE, NARROW = 1200, 360
GAP = 24

# A document prefers the colour scheme of the iframe around it, so one page shows both.
FRAME = '<iframe class="{kind}" style="color-scheme: {scheme}" srcdoc="{page}"></iframe>'
PAGE = """<!doctype html>
<meta charset="utf-8">
<style>
  html {{ background: #d9d8d4; }}
  body {{ display: grid; grid: auto auto / auto-flow; gap: {gap}px; width: max-content; margin: {gap}px; }}
  iframe {{ border: 0; border-radius: 12px; }}
  .wide {{ width: {wide}px; }}
  .narrow {{ width: {narrow}px; grid-row: span 2; }}
</style>
{frames}
<script>
  onload = () => {{
    const frames = (kind) => [...document.getElementsByClassName(kind)];
    const highest = (kind) =>
      Math.max(...frames(kind).map((frame) => frame.contentDocument.documentElement.scrollHeight));
    const height = Math.max(highest("narrow"), 2 * highest("wide") + {gap});
    frames("narrow").forEach((frame) => {{ frame.height = height; }});
    frames("wide").forEach((frame) => {{ frame.height = (height - {gap}) / 2; }});
    document.documentElement.dataset.height = height + 2 * {gap};
  }};
</script>
"""


def draw() -> None:
    """Write the picture."""
    shown = html.escape(page.html(read_example()))
    kinds = [(kind, scheme) for kind in ("wide", "narrow") for scheme in SCHEMES]
    frames = [FRAME.format(kind=kind, scheme=scheme, page=shown) for kind, scheme in kinds]
    content = PAGE.format(frames="\n".join(frames), gap=GAP, wide=WIDE, narrow=NARROW)
    take(content, PICTURE, width=WIDE + 2 * NARROW + 4 * GAP)


if __name__ == "__main__":
    draw()
