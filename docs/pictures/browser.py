"""The browser that draws the pictures: it measures a page, and then takes it in full."""

import html
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-lcd-text"),
)

SCHEMES = ("light", "dark")
NARROW = 360
GAP = 24

# A document prefers the colour scheme of the iframe around it, so one page shows both.
FRAME = '<iframe class="{kind}" style="color-scheme: {scheme}" srcdoc="{page}"></iframe>'
PAGES = """<!doctype html>
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


def take_page(page: str, picture: Path, *, wide: int) -> None:
    """Write a picture of a page, wide and as narrow as a telephone, in light and dark; ends where it cannot."""
    shown = html.escape(page)
    kinds = [(kind, scheme) for kind in ("wide", "narrow") for scheme in SCHEMES]
    frames = "\n".join(FRAME.format(kind=kind, scheme=scheme, page=shown) for kind, scheme in kinds)
    content = PAGES.format(frames=frames, gap=GAP, wide=wide, narrow=NARROW)
    take(content, picture, width=wide + 2 * NARROW + 4 * GAP)


def take(content: str, picture: Path, *, width: int) -> None:
    """Write a picture of a page that says its height in `data-height` once it is loaded; ends where it cannot."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"The picture needs a browser to draw it: install one of {', '.join(BROWSERS)}.")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "page.html")
        file.write_text(content, encoding="utf-8")
        command = [browser, *FLAGS, f"--user-data-dir={folder}/profile", file.as_uri()]
        measured = re.search(r'data-height="(\d+)"', _run([*command, "--dump-dom"]))
        if measured is None:
            sys.exit(f"{browser} did not run the page that measures {picture.stem}.")
        _run([*command, f"--window-size={width},{measured[1]}", f"--screenshot={picture}"])


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout  # noqa: S603
