"""Draw docs/pictures/status.png: the status page, wide and narrow, in light and dark, as headless Chromium shows it.

Run from the root of the repository: PYTHONPATH=. python docs/pictures/status.py
"""

from pathlib import Path

from chalicelib import backup
from chalicelib.operate.status import page
from docs.pictures.browser import take_page
from nightshift.demo.history import read_example

PICTURE = Path(__file__).with_suffix(".png")
WIDE = 1200


if __name__ == "__main__":
    take_page(page.html(read_example(), [backup.PART]), PICTURE, wide=WIDE)
