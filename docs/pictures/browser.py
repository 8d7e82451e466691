"""The browser that draws the pictures: it measures a page, and then takes it in full."""

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
