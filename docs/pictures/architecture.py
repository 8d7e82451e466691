"""Draw docs/pictures/architecture.svg: the layers of chalicelib/, and the path of a fire and of a message through them.

Run from the root of the repository: python -m docs.pictures.architecture
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

PICTURE = Path(__file__).with_suffix(".svg")
WIDTH, HEIGHT = 960, 520

# A picture within a page follows the reader's own scheme.
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #52514e; }
  .title { font-size: 15px; font-weight: 600; fill: #0b0b0b; }
  .name { font-weight: 600; fill: #0b0b0b; }
  .ground { fill: #fcfcfb; }
  .box { stroke-width: 1.5; }
  .yours { fill: #e4f4ec; stroke: #14805e; }
  .part { fill: #fdeee3; stroke: #c2500f; }
  .engine { fill: #e6f0fb; stroke: #2a78d6; }
  .outside { fill: none; stroke: #8a887f; stroke-dasharray: 4 3; }
  .arrow { fill: none; stroke: #52514e; stroke-width: 1.5; marker-end: url(#head); }
  .head { fill: #52514e; }
  @media (prefers-color-scheme: dark) {
    text { fill: #c3c2b7; }
    .title, .name { fill: #ffffff; }
    .ground { fill: #1a1a19; }
    .yours { fill: #12301f; stroke: #2fb98b; }
    .part { fill: #3a2213; stroke: #e87a3d; }
    .engine { fill: #14263d; stroke: #5598e7; }
    .arrow { stroke: #c3c2b7; }
    .head { fill: #c3c2b7; }
  }
"""

# From the top down, each layer's boxes: kind, folder, what it holds, and the share of the layer's width.
LAYERS = (
    (
        ("yours", "app.py", "triggers and parts", 1),
        ("yours", "tasks/", "one a schedule", 1),
        ("yours", "handlers/", "one a job type", 1),
    ),
    (("part", "mail/", "a part", 1), ("part", "backup/", "a part", 1)),
    (("engine", "operate/", "commands, watch, status page", 1),),
    (("engine", "runs/", "fires, claims, catch-up", 1), ("engine", "queue/", "jobs, worker, outbox", 1)),
    (("engine", "schedule/", "cron and time zones", 1), ("engine", "migrations/", "", 1)),
    (
        ("engine", "core/", "settings, database, errors, logs", 2),
        ("engine", "schema/", "our tables", 1),
        ("yours", "application.py", "your tables", 1),
    ),
)
FIRE = (
    ("outside", "EventBridge", "a fire"),
    ("yours", "app.py", "daily_digest"),
    ("engine", "runs/execution.py", "the steps"),
    ("engine", "runs/claims.py", "one run a fire"),
    ("yours", "tasks/daily_digest.py", "the work"),
)
MESSAGE = (
    ("outside", "SQS", "a message"),
    ("yours", "app.py", "work"),
    ("engine", "queue/worker.py", "the steps"),
    ("engine", "queue/claim.py", "one worker a job"),
    ("yours", "handlers/send_email.py", "the work"),
)


def draw() -> str:
    """Return the picture."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            'aria-labelledby="title">',
            f"<style>{STYLE}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            'orient="auto"><path class="head" d="M0 0 L8 4 L0 8 Z"/></marker></defs>',
            f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}" rx="12"/>',
            '<text id="title" class="title" x="24" y="34">chalicelib/: a folder imports only from below</text>',
            *_layers(x=24, y=52, width=480, height=64, gap=10),
            '<text class="title" x="548" y="34">A fire</text>',
            *_path(FIRE, x=548, y=52, width=176, height=64, gap=28),
            '<text class="title" x="760" y="34">A message</text>',
            *_path(MESSAGE, x=760, y=52, width=176, height=64, gap=28),
            "</svg>",
            "",
        ]
    )


def _layers(*, x: float, y: float, width: float, height: float, gap: float) -> Iterator[str]:
    for number, boxes in enumerate(LAYERS):
        left, total = x, sum(share for *_, share in boxes)
        for kind, name, words, share in boxes:
            wide = (width - gap * (len(boxes) - 1)) * share / total
            yield from _box(kind, name, words, x=left, y=y + number * (height + gap), width=wide, height=height)
            left += wide + gap


def _path(
    boxes: Sequence[tuple[str, str, str]], *, x: float, y: float, width: float, height: float, gap: float
) -> Iterator[str]:
    for number, (kind, name, words) in enumerate(boxes):
        top, middle = y + number * (height + gap), x + width / 2
        yield from _box(kind, name, words, x=x, y=top, width=width, height=height)
        if number:
            yield f'<path class="arrow" d="M{middle:g} {top - gap + 2:g} V{top - 2:g}"/>'


def _box(kind: str, name: str, words: str, *, x: float, y: float, width: float, height: float) -> Iterator[str]:
    middle = x + width / 2
    yield f'<rect class="box {kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"/>'
    at = (y + 28, y + 48) if words else (y + 38, 0)
    yield f'<text class="name" x="{middle:g}" y="{at[0]:g}" text-anchor="middle">{name}</text>'
    if words:
        yield f'<text x="{middle:g}" y="{at[1]:g}" text-anchor="middle">{words}</text>'


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
