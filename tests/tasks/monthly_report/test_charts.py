"""The bar charts: well-formed, true to their figures, and readable without colours, scripts or a pointer."""

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.core.text import clean
from chalicelib.tasks.monthly_report.page import svg
from nightshift.demo.blog import HOSTILE
from tests.tasks.monthly_report.samples import months

NAMESPACE = "{http://www.w3.org/2000/svg}"


def chart(*figures: int | None, title: str = "New users by month") -> ET.Element:
    return ET.fromstring(svg(title, tuple((each.month, each.active_users) for each in months(*figures))))


def texts(element: ET.Element, kind: str) -> list[str]:
    return [str(text.text) for text in element.iter(f"{NAMESPACE}text") if text.get("class") == kind]


def lengths(element: ET.Element) -> list[float]:
    bars = [bar for bar in element.iter(f"{NAMESPACE}rect") if bar.get("class") == "bar"]
    return [float(str(bar.get("width")).removesuffix("%")) for bar in bars]


def test_every_month_has_its_name_and_every_bar_its_figure() -> None:
    drawn = chart(*range(13))
    names = "Feb 2025, Mar, Apr, May, Jun, Jul, Aug, Sep, Oct, Nov, Dec, Jan 2026, Feb 2026"
    assert texts(drawn, "name") == names.split(", ")
    assert texts(drawn, "figure") == [str(figure) for figure in range(13)]


def test_bars_are_as_long_as_their_figures() -> None:
    drawn = chart(0, 25, 50, 100)
    zero, quarter, half, whole = lengths(drawn)
    assert zero == 0
    assert [quarter / whole, half / whole] == pytest.approx([0.25, 0.5], rel=0.01)


def test_a_missing_month_is_an_empty_dashed_outline_that_says_no_data_and_no_bar_of_zero() -> None:
    drawn = chart(None, 0, 5)
    assert texts(drawn, "gap") == ["no data"]
    assert texts(drawn, "figure") == ["0", "5"]
    outlines = [rect for rect in drawn.iter(f"{NAMESPACE}rect") if rect.get("class") == "gap"]
    assert [(rect.get("fill"), rect.get("stroke-dasharray")) for rect in outlines] == [("none", "3 3")]
    assert len(lengths(drawn)) == 2


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (0, ["0", "1"]),
        (1, ["0", "1"]),
        (4, ["0", "1", "2", "3", "4"]),
        (5, ["0", "2", "4", "6"]),
        (437, ["0", "200", "400", "600"]),
        (1_234, ["0", "500", "1k", "1.5k"]),
        (20_000, ["0", "5k", "10k", "15k", "20k"]),
        (9_999_999, ["0", "5M", "10M"]),
        (3 * 10**9, ["0", "1B", "2B", "3B"]),
        (10**15, ["0", "500T", "1,000T"]),
    ],
)
def test_the_axis_goes_in_round_steps_to_the_highest_bar_or_beyond(highest: int, ticks: list[str]) -> None:
    assert texts(chart(0, highest), "tick") == ticks


@given(st.lists(st.none() | st.integers(0, 10**18), min_size=1, max_size=13))
def test_no_bar_is_longer_than_the_axis_and_none_is_lost_whatever_the_figures(figures: list[int | None]) -> None:
    drawn = chart(*figures)
    known = [figure for figure in figures if figure is not None]
    ends = [float(str(line.get("x2")).removesuffix("%")) for line in drawn.iter(f"{NAMESPACE}line")]
    assert [length > 0 for length in lengths(drawn)] == [figure > 0 for figure in known]
    assert all(length <= max(ends) for length in lengths(drawn))
    assert len(texts(drawn, "gap")) == len(figures) - len(known)
    assert all(len(label) <= len("1,000,000T") for label in texts(drawn, "figure"))


def test_where_nothing_is_known_there_is_no_axis() -> None:
    assert texts(chart(None, None), "tick") == []


def test_who_hears_it_gets_a_title_and_every_figure_in_full() -> None:
    drawn = chart(None, 1_234_567)
    assert drawn.get("role") == "img"
    assert [(child.tag, child.text) for child in list(drawn)[:2]] == [
        (f"{NAMESPACE}title", "New users by month"),
        (f"{NAMESPACE}desc", "January 2026: no data; February 2026: 1,234,567."),
    ]


@pytest.mark.parametrize("title", [*HOSTILE, "</title><script>\"&'</script>", "\x00\x1b]0;x\x07]]>", "<!--", "&lt;"])
def test_a_title_is_never_markup(title: str) -> None:
    drawn = chart(1, 2, title=title)
    assert drawn[0].text == clean(title)
    assert [element.tag for element in drawn.iter()] == [element.tag for element in chart(1, 2).iter()]


def test_its_colours_are_the_pages_and_it_runs_and_fetches_nothing() -> None:
    source = svg("New users", tuple((each.month, each.active_users) for each in months(None, 0, 5)))
    assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', source)) == {"currentColor", "none"}
    assert not re.search(r"<script|\son\w+=|href|url\(|<image|<style|<foreignObject", source, re.IGNORECASE)
