"""Figures, what they changed by, and how people read the change."""

import pytest

from chalicelib.tasks.monthly_report.page import Card, cards
from tests.tasks.monthly_report.samples import FEBRUARY, months, report


def active(before: int | None, now: int | None) -> Card:
    return cards(report(months=months(before, now)))[2]


@pytest.mark.parametrize(
    ("before", "now", "arrow", "words"),
    [
        (100, 112, "▲", "12% more than in January 2026"),
        (800, 701, "▼", "12.4% fewer than in January 2026"),
        (5, 0, "▼", "100% fewer than in January 2026"),
        (7, 7, "=", "as many as in January 2026"),
        (0, 0, "=", "as many as in January 2026"),
        (0, 5, "▲", "none in January 2026"),
        (None, 5, "", "no figure for January 2026 to compare with"),
        (5, None, "", "not recorded"),
        (1, 12_346, "▲", "1,234,500% more than in January 2026"),
        (1_000_000, 1_000_001, "▲", "under 0.1% more than in January 2026"),
        (1_000_000, 999_999, "▼", "under 0.1% fewer than in January 2026"),
    ],
)
def test_a_change_is_told_by_an_arrow_and_by_words(before: int | None, now: int | None, arrow: str, words: str) -> None:
    card = active(before, now)
    assert (card.arrow, card.change) == (arrow, words)


def test_a_figure_that_is_missing_is_not_called_zero() -> None:
    assert active(3, None).value == "no data"
    assert active(3, 0).value == "0"
    assert active(3, 1_234_567).value == "1,234,567"


def test_the_three_figures_come_in_a_fixed_order_with_their_own_history() -> None:
    shown = cards(report(months=months(None, 40)))
    assert [(card.label, card.value) for card in shown] == [
        ("New users", "110"),
        ("New posts", "55"),
        ("Active users", "40"),
    ]
    january = FEBRUARY.previous()
    assert [card.history for card in shown] == [
        ((january, 100), (FEBRUARY, 110)),
        ((january, 50), (FEBRUARY, 55)),
        ((january, None), (FEBRUARY, 40)),
    ]


def test_the_first_month_of_all_has_nothing_to_be_compared_with() -> None:
    for card in cards(report(months=months(5))):
        assert (card.arrow, card.change) == ("", "no figure for January 2026 to compare with")


def test_a_report_reports_its_last_month() -> None:
    assert report().month == FEBRUARY
