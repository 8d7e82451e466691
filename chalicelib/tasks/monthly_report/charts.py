"""A bar chart of a figure over the months: what there is to draw, and chart.svg.j2 draws it.

Its bars lie, so that each month's name and figure find room beside them on a telephone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from chalicelib.tasks.monthly_report.cards import History
from chalicelib.tasks.monthly_report.month import Month
from chalicelib.tasks.monthly_report.template import render

INTERVALS = 4
UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
# From here on a figure is too long to stand beside its bar in full.
LONG = 10**6
# What is not zero shows, however little it is beside the highest bar.
SHORTEST = 0.5


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A month's bar: its `length` in percent of the axis, None where nothing was recorded.

    `month` and `figure` are complete, for those who hear the chart or point at a bar; `name` and `label` are drawn.
    """

    month: str
    name: str
    figure: str
    label: str
    length: float | None


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Bars from top to bottom, oldest first, over an axis of places in percent with their labels."""

    title: str
    bars: tuple[Bar, ...]
    ticks: tuple[tuple[float, str], ...]


def svg(title: str, history: History) -> str:
    """Return the chart as an SVG element of a page: as wide as it may be, its colours the page's."""
    known = [figure for _, figure in history if figure is not None]
    ticks = _ticks(max(known, default=0))
    last = len(history) - 1
    chart = Chart(
        title=title,
        bars=tuple(
            _bar(month, figure, top=ticks[-1], in_full=place in {0, last})
            for place, (month, figure) in enumerate(history)
        ),
        # An axis without a bar would name numbers that nothing was measured in.
        ticks=tuple((round(100 * tick / ticks[-1], 2), _short(tick)) for tick in ticks if known),
    )
    return render("chart.svg.j2", chart=chart)


def _bar(month: Month, figure: int | None, *, top: int, in_full: bool) -> Bar:
    word, year = month.name.split()
    name = f"{word[:3]} {year}" if in_full or month.month == 1 else word[:3]
    if figure is None:
        return Bar(month=month.name, name=name, figure="no data", label="no data", length=None)
    length = max(SHORTEST, round(100 * figure / top, 2)) if figure else 0
    label = f"{figure:,}" if figure < LONG else _short(figure)
    return Bar(month=month.name, name=name, figure=f"{figure:,}", label=label, length=length)


def _ticks(highest: int) -> list[int]:
    """Return whole numbers in equal steps of 1, 2 or 5 times a power of ten, from 0 to at least the highest."""
    step = next(step for step in _steps() if step * INTERVALS >= highest)
    return [step * place for place in range(max(1, -(-highest // step)) + 1)]


def _steps() -> Iterator[int]:
    return (digit * 10**power for power in count() for digit in (1, 2, 5))


def _short(figure: int) -> str:
    size, unit = next(((size, unit) for size, unit in UNITS if figure >= size), (1, ""))
    return f"{figure / size:,.1f}".removesuffix(".0") + unit
