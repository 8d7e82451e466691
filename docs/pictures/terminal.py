"""Draw docs/pictures/terminal.png: `nightshift status` in a dark and in a light terminal, as Chromium shows it.

Run from the root of the repository: PYTHONPATH=. python docs/pictures/terminal.py
"""

import io
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI, TerminalTheme

from docs.pictures.browser import take
from nightshift.cli.status_view import lines
from nightshift.demo.history import read_example

PICTURE = Path(__file__).with_suffix(".png")
COLUMNS, WIDTH = 113, 1064
LIGHT = TerminalTheme(
    (252, 252, 251),
    (40, 40, 38),
    [(0, 0, 0), (176, 28, 28), (20, 110, 60), (150, 90, 0), (28, 92, 171), (130, 40, 130), (0, 110, 120), (90, 90, 90)],
)
# Rich's own document, without its fonts from elsewhere.
DOCUMENT = """<!doctype html>
<meta charset="utf-8">
<style>
{{stylesheet}}
html {{{{ background: #d9d8d4; }}}}
body {{{{ margin: 24px; }}}}
pre {{{{ margin: 0 0 24px; padding: 20px 24px; border-radius: 12px; font: 14px/1.35 "DejaVu Sans Mono", monospace; }}}}
.{name} {{{{ color: {{foreground}}; background: {{background}}; }}}}
</style>
<pre class="{name}"><b>$ nightshift status --stage prod</b>
{{code}}</pre>
"""
MEASURE = """<script>
onload = () => { document.documentElement.dataset.height = document.documentElement.scrollHeight; };
</script>"""


def draw(theme: TerminalTheme, name: str) -> str:
    """Return the document of one terminal."""
    console = Console(record=True, file=io.StringIO(), width=COLUMNS, force_terminal=True, color_system="truecolor")
    for line in lines(read_example(), width=COLUMNS):
        console.print(line, soft_wrap=True)
    return console.export_html(theme=theme, code_format=DOCUMENT.format(name=name), inline_styles=True)


if __name__ == "__main__":
    take(draw(DIMMED_MONOKAI, "dark") + draw(LIGHT, "light") + MEASURE, PICTURE, width=WIDTH)
