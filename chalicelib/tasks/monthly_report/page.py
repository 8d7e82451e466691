"""Render the report as an HTML page with charts, as CSV, as JSON, and as the content of its mail.

The same report always gives the same bytes.
"""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from chalicelib.core.clock import iso
from chalicelib.core.templates import templates
from chalicelib.core.text import clean
from chalicelib.tasks.monthly_report.figures import Report
from chalicelib.tasks.monthly_report.month import Month

TEMPLATES = Path(__file__).parent / "templates"
FIGURES = {"new_users": "New users", "new_posts": "New posts", "active_users": "Active users"}
INTERVALS = 4
UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
# Larger figures are abbreviated: they do not fit next to their bar.
LONG = 10**6
# The length of the smallest bar that is not zero, in percent.
SHORTEST = 0.5
MAX_POSTS = 5
LINK_SECONDS = 12 * 3600

# Each month and its figure, oldest first; None where it is unknown.
History = tuple[tuple[Month, int | None], ...]


@dataclass(frozen=True, kw_only=True)
class Card:
    """A figure and its change in words; `arrow` is ▲, ▼ or =, or empty without a figure to compare with."""

    label: str
    value: str
    arrow: str
    change: str
    history: History


def cards(report: Report) -> list[Card]:
    """Return a card for each figure."""
    return [
        _card(label, tuple((figures.month, getattr(figures, name)) for figures in report.months))
        for name, label in FIGURES.items()
    ]


def _card(label: str, history: History) -> Card:
    month, now = history[-1]
    before = history[-2][1] if len(history) > 1 else None
    arrow, words = _compared(before, now, earlier=month.previous())
    return Card(label=label, value="no data" if now is None else f"{now:,}", arrow=arrow, change=words, history=history)


def _compared(before: int | None, now: int | None, *, earlier: Month) -> tuple[str, str]:
    if now is None:
        return "", "not recorded"
    if before is None:
        return "", f"no figure for {earlier.name} to compare with"
    if now == before:
        return "=", f"as many as in {earlier.name}"
    if before == 0:
        return "▲", f"none in {earlier.name}"
    percent = 100 * abs(now - before) / before
    rounded = "under 0.1%" if percent < 0.1 else f"{percent:,.1f}".removesuffix(".0") + "%"
    arrow, word = ("▲", "more") if now > before else ("▼", "fewer")
    return arrow, f"{rounded} {word} than in {earlier.name}"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A month's bar: its `length` in percent of the axis, None where the figure is unknown.

    `month` and `figure` are complete, for screen readers and tool tips; `name` and `label` are drawn.
    """

    month: str
    name: str
    figure: str
    label: str
    length: float | None


def svg(title: str, history: History) -> str:
    """Return the chart as an SVG element of a page: it fills the width and takes the page's colours.

    Its bars go from top to bottom, oldest first, over an axis of ticks.
    """
    known = [figure for _, figure in history if figure is not None]
    ticks, last = _ticks(max(known, default=0)), len(history) - 1
    return (
        templates(TEMPLATES)
        .get_template("chart.svg.j2")
        .render(
            title=title,
            bars=[_bar(*each, top=ticks[-1], in_full=place in {0, last}) for place, each in enumerate(history)],
            # No axis without bars.
            ticks=[(round(100 * tick / ticks[-1], 2), _short(tick)) for tick in ticks if known],
        )
    )


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
    steps = (digit * 10**power for power in count() for digit in (1, 2, 5))
    step = next(step for step in steps if step * INTERVALS >= highest)
    return [step * place for place in range(max(1, -(-highest // step)) + 1)]


def _short(figure: int) -> str:
    size, unit = next(((size, unit) for size, unit in UNITS if figure >= size), (1, ""))
    return f"{figure / size:,.1f}".removesuffix(".0") + unit


def html(report: Report) -> str:
    """Return the report as one HTML page without external resources or scripts."""
    from markupsafe import Markup

    computed = report.computed_at.astimezone(UTC)
    template = templates(TEMPLATES).get_template("report.html.j2")
    return template.render(
        report=report,
        cards=[(card, Markup(svg(f"{card.label} by month", card.history))) for card in cards(report)],  # noqa: S704
        missing=_spans(figures.month for figures in report.months if figures.active_users is None),
        computed=f"{computed.day} {computed:%B %Y, %H:%M} UTC",
    )


def csv_text(report: Report) -> str:
    """Return the months as RFC 4180 has it, under a header; an unknown figure is an empty field."""
    sheet = io.StringIO()
    rows = csv.writer(sheet)
    rows.writerow(["month", *FIGURES])
    rows.writerows([figures.month, *(getattr(figures, name) for name in FIGURES)] for figures in report.months)
    return sheet.getvalue()


def json_text(report: Report) -> str:
    """Return the whole report as JSON in ASCII; an unknown figure is null."""
    values = {
        "site_name": report.site_name,
        "site_url": report.site_url,
        "month": str(report.month),
        "computed_at": iso(report.computed_at),
        "months": [asdict(figures) | {"month": str(figures.month)} for figures in report.months],
        "top_posts": [asdict(post) for post in report.top_posts],
    }
    return json.dumps(values, indent=2) + "\n"


def _spans(months: Iterable[Month]) -> list[str]:
    spans: list[list[Month]] = []
    for month in months:
        if spans and spans[-1][-1].next() == month:
            spans[-1].append(month)
        else:
            spans.append([month])
    return [span[0].name if len(span) == 1 else f"{span[0].name} to {span[-1].name}" for span in spans]


def mail_content(report: Report, *, link: str) -> dict[str, Any]:
    """Return the mail's content as JSON values; `link` leads to the full report."""
    content = {
        "site_name": report.site_name,
        "site_url": report.site_url,
        "month": report.month.name,
        "cards": cards(report),
        "posts": report.top_posts[:MAX_POSTS],
        "link": link,
    }
    values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(content))
    return values


def mail(report: Report, *, to: str, name: str, link: str) -> dict[str, Any]:
    """Return the data of the `send_email` job that announces the report."""
    subject = clean(f"{report.site_name}: {report.month.name} in figures")
    content = mail_content(report, link=link)
    return {"to": to, "name": name, "subject": subject, "template": "report", "content": content}
