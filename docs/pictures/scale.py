"""Draw docs/pictures/scale.svg: how many of a day's ten million jobs wait, with three numbers of workers.

Run from the root of the repository: python -m docs.pictures.scale
"""

from collections.abc import Sequence
from pathlib import Path

from scale.days import backlogs

PICTURE = Path(__file__).with_suffix(".svg")
WIDTH, HEIGHT = 900, 400
LEFT, RIGHT, TOP, BOTTOM = 52, 20, 56, 44
HOURS, EVERY = 66, 6
MOST, STEP = 7_000_000, 1_000_000
# Minutes that one point of a line stands for.
GRAIN = 10

# A picture within a page follows the reader's own scheme.
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #52514e; }
  .title { font-size: 15px; font-weight: 600; fill: #0b0b0b; }
  .name { font-weight: 600; }
  .ground { fill: #fcfcfb; }
  .grid { stroke: #e1e0d9; }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
  .a { stroke: #2a78d6; } .b { stroke: #c2500f; } .c { stroke: #14805e; }
  text.a { fill: #1c5cab; } text.b { fill: #a8430a; } text.c { fill: #0d6b4e; }
  text.a, text.b, text.c { stroke: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #c3c2b7; }
    .title { fill: #ffffff; }
    .ground { fill: #1a1a19; }
    .grid { stroke: #383835; }
    .a { stroke: #5598e7; } .b { stroke: #e87a3d; } .c { stroke: #2fb98b; }
    text.a { fill: #86b6ef; } text.b { fill: #f2a072; } text.c { fill: #63d3ab; }
  }
"""
# Where each line's name stands: hours, jobs, and what is at that place of it.
NAMES = {5: (38.5, 4_150_000, "start"), 13: (25.6, 1_300_000, "start"), 25: (13.2, 280_000, "start")}


def draw() -> str:
    """Return the picture."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="title">',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}" rx="12"/>',
        f'<text id="title" class="title" x="{LEFT - 28}" y="28">'
        "Jobs that wait, of ten million in one day, in millions</text>",
        *_axes(),
    ]
    for kind, (workers, backlog) in zip("abc", backlogs(), strict=True):
        hours, jobs, anchor = NAMES[workers]
        parts.append(f'<path class="line {kind}" d="M{" L".join(_points(backlog))}"/>')
        x, y = _place(hours, jobs)
        parts.append(f'<text class="name {kind}" x="{x}" y="{y}" text-anchor="{anchor}">{workers} workers</text>')
    return "\n".join([*parts, "</svg>", ""])


def _axes() -> list[str]:
    parts = []
    for jobs in range(0, MOST + 1, STEP):
        x, y = _place(0, jobs)
        parts.append(f'<path class="grid" d="M{x} {y}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{x - 10}" y="{y + 4}" text-anchor="end">{jobs // STEP}</text>')
    for hour in range(0, HOURS + 1, EVERY):
        x, y = _place(hour, 0)
        parts.append(f'<text x="{x}" y="{y + 20}" text-anchor="middle">{hour} h</text>')
    return parts


def _points(backlog: Sequence[int]) -> list[str]:
    waiting = [max(backlog[minute : minute + GRAIN]) for minute in range(0, len(backlog), GRAIN)]
    return ["{} {}".format(*_place(place * GRAIN / 60, jobs)) for place, jobs in enumerate([*waiting, 0])]


def _place(hour: float, jobs: float) -> tuple[float, float]:
    x = LEFT + (WIDTH - LEFT - RIGHT) * hour / HOURS
    y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * jobs / MOST
    return round(x, 1), round(y, 1)


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
