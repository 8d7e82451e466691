"""Tables as Markdown has them, and figures as people read them."""

from collections.abc import Sequence

MINUTE, HOUR = 60.0, 3600.0


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, texts: int) -> str:
    """Return a table whose first `texts` columns are words, and the others figures, to the right."""
    marks = ["---"] * texts + ["---:"] * (len(heads) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, marks, *rows))


def span(seconds: float) -> str:
    """Return a time as people say it, no finer than the simulation is."""
    if seconds < MINUTE:
        return "under 1 min"
    if seconds < 1.5 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    return f"{seconds / HOUR:.1f} h"


def number(value: float) -> str:
    """Return a number with as many digits as tell something."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.3g}"


def none(value: float) -> str:
    """Return a count, and of nothing a dash."""
    return f"{value:,.0f}" if value else "–"
