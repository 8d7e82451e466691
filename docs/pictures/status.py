"""Draw docs/pictures/status.png: the status page, wide and narrow, in light and dark, as headless Chromium shows it.

Run from the root of the repository: PYTHONPATH=. python docs/pictures/status.py
"""

import html
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from chalicelib.status import page
from nightshift.demo.nights import read_example

PICTURE = Path(__file__).with_suffix(".png")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCHEMES = ("light", "dark")
WIDE, NARROW = 1200, 360
GAP = 24
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-lcd-text"),
)

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


def draw(browser: str) -> None:
    """Write the picture: measure the page, then take it in full."""
    shown = html.escape(page.html(read_example()))
    kinds = [(kind, scheme) for kind in ("wide", "narrow") for scheme in SCHEMES]
    frames = [FRAME.format(kind=kind, scheme=scheme, page=shown) for kind, scheme in kinds]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "page.html")
        content = PAGE.format(frames="\n".join(frames), gap=GAP, wide=WIDE, narrow=NARROW)
        file.write_text(content, encoding="utf-8")
        command = [browser, *FLAGS, f"--user-data-dir={folder}/profile", file.as_uri()]
        measured = re.search(r'data-height="(\d+)"', _run([*command, "--dump-dom"]))
        if measured is None:
            sys.exit(f"{browser} did not run the page that measures the status.")
        size = f"{WIDE + 2 * NARROW + 4 * GAP},{measured[1]}"
        _run([*command, f"--window-size={size}", f"--screenshot={PICTURE}"])


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout  # noqa: S603


if __name__ == "__main__":
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        sys.exit(f"The picture needs a browser to draw it: install one of {', '.join(BROWSERS)}.")
    draw(found)
