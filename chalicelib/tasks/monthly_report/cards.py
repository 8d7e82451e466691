"""The three figures of the reported month as people read them, each with its change and its history."""

from dataclasses import dataclass

from chalicelib.tasks.monthly_report.figures import Report, change
from chalicelib.tasks.monthly_report.month import Month

FIGURES = {"new_users": "New users", "new_posts": "New posts", "active_users": "Active users"}

# Each month and its figure, oldest first; None where nothing was recorded.
History = tuple[tuple[Month, int | None], ...]


@dataclass(frozen=True, kw_only=True)
class Card:
    """A figure and its change in words; `arrow` is ▲, ▼ or =, and empty where there is nothing to compare."""

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
    percent = change(before, now)
    if percent is None:
        return "▲", f"none in {earlier.name}"
    arrow, word = ("▲", "more") if now > before else ("▼", "fewer")
    return arrow, f"{_rounded(abs(percent))} {word} than in {earlier.name}"


def _rounded(percent: float) -> str:
    return "under 0.1%" if percent < 0.1 else f"{percent:,.1f}".removesuffix(".0") + "%"
