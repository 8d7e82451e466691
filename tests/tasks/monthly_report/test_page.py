"""The report as a page, a sheet and JSON: complete, safe with any text, self-contained, the same every time."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import timedelta, timezone
from xml.etree import ElementTree as ET

import pytest

from chalicelib.core.text import clean
from chalicelib.tasks.monthly_report.page import csv_text, html, json_text
from nightshift.demo.blog import HOSTILE
from tests.tasks.monthly_report.samples import Page, months, post, report

LINKS = ("link", "site_url")
FIELDS = ("title", "author", "site_name", *LINKS)
INJECTIONS = [*HOSTILE, "</style><script>alert(1)</script>", "' onmouseover='alert(1)", "<!--", "\x00<b>\r\n\u2028x"]


def test_the_page_tells_the_month_its_figures_their_change_and_the_top_posts() -> None:
    page = Page(html(report()))
    for told in (
        "The Night Owl February 2026 Monthly report",
        "New users 220 ▲ 4.8% more than in January 2026",
        "New posts 110 ▲ 4.8% more than in January 2026",
        "Active users 1,900 ▲ 5.6% more than in January 2026",
        "Top posts Title Points Comments Hello Zoë 3 1",
        "Computed on 1 March 2026, 06:00 UTC.",
    ):
        assert told in page.text
    assert page.links == ["https://blog.example.com", "https://blog.example.com/hello"]
    assert page.tags.count("svg") == 3


def test_the_page_says_for_which_months_active_users_are_missing_and_only_then() -> None:
    assert "missing for February 2025 to March 2025: they" in Page(html(report())).text
    scattered = report(months=months(None, 1, None, None, None, 2, None))
    expected = "missing for August 2025, October 2025 to December 2025, February 2026: they"
    assert expected in Page(html(scattered)).text
    assert "missing" not in Page(html(report(months=months(0, 5)))).text


def test_a_missing_figure_of_the_month_itself_is_told_as_missing() -> None:
    assert "Active users no data not recorded" in Page(html(report(months=months(5, None)))).text


def test_a_month_without_posts_says_so() -> None:
    page = Page(html(report(top_posts=())))
    assert "Top posts There are none to show." in page.text
    assert "table" not in page.tags


def test_a_post_without_author_has_none() -> None:
    page = Page(html(report(top_posts=(post(author=None),))))
    assert "Hello 3 1" in page.text
    assert "None" not in page.text


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("text", INJECTIONS)
def test_no_text_of_a_report_becomes_markup(field: str, text: str) -> None:
    # A link that the page would not show could break nothing.
    text = f"https://{text}" if field in LINKS else text
    hostile = report(**{field: text}) if field.startswith("site") else report(top_posts=(post(**{field: text}),))
    page, harmless = Page(html(hostile)), Page(html(report()))
    assert page.tags == harmless.tags
    assert [name for name, _ in page.attributes] == [name for name, _ in harmless.attributes]
    shown = page.links if field in LINKS else page.text
    assert " ".join(clean(text).split()) in shown


@pytest.mark.parametrize("link", ["javascript:alert(1)", "\x01JavaScript:x", "data:text/html,x", "//evil.example", ""])
def test_a_link_to_anything_but_the_web_is_left_out_and_its_text_stays(link: str) -> None:
    page = Page(html(report(top_posts=(post(link=link),), site_url=link)))
    assert page.links == []
    assert "The Night Owl February 2026" in page.text
    assert "Hello Zoë 3 1" in page.text


def test_the_page_runs_and_fetches_nothing_and_its_policy_says_so() -> None:
    source = html(report())
    assert not re.search(r"<(script|link|img|iframe|object|image)|url\(|@import|\ssrc=|\son\w+=", source, re.IGNORECASE)
    assert "default-src 'none'; style-src 'unsafe-inline'" in source


def test_its_charts_are_well_formed() -> None:
    charts = [ET.fromstring(found) for found in re.findall(r"<svg.*?</svg>", html(report()), re.DOTALL)]
    titles = [chart.findtext("{http://www.w3.org/2000/svg}title") for chart in charts]
    assert titles == ["New users by month", "New posts by month", "Active users by month"]


def test_the_same_report_gives_the_same_bytes_wherever_it_was_computed() -> None:
    one = report()
    elsewhere = replace(one, computed_at=one.computed_at.astimezone(timezone(timedelta(hours=5, minutes=45))))
    for form in (html, csv_text, json_text):
        assert form(report()).encode() == form(one).encode() == form(elsewhere).encode()


def test_another_figure_gives_other_bytes() -> None:
    for form in (html, csv_text, json_text):
        assert form(report(months=months(1, 2))) != form(report(months=months(1, 3)))


def test_the_sheet_reads_back_with_an_empty_field_for_a_missing_figure() -> None:
    text = csv_text(report(months=months(None, 0, 1234)))
    assert text == (
        "month,new_users,new_posts,active_users\r\n2025-12,100,50,\r\n2026-01,110,55,0\r\n2026-02,120,60,1234\r\n"
    )
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert rows[0] == {"month": "2025-12", "new_users": "100", "new_posts": "50", "active_users": ""}


def test_the_sheet_holds_no_text_that_a_spreadsheet_could_take_for_a_formula() -> None:
    text = csv_text(report(site_name="=cmd()", top_posts=(post(title='=HYPERLINK("x")', author="@x"),)))
    assert re.fullmatch(r"[a-z_,]+\r\n(\d{4}-\d\d,\d+,\d+,\d*\r\n){13}", text)


def test_json_reads_back_with_everything_in_a_fixed_order() -> None:
    read = json.loads(json_text(report(months=months(None, 7))))
    assert list(read.items()) == [
        ("site_name", "The Night Owl"),
        ("site_url", "https://blog.example.com"),
        ("month", "2026-02"),
        ("computed_at", "2026-03-01T06:00:00Z"),
        (
            "months",
            [
                {"month": "2026-01", "new_users": 100, "new_posts": 50, "active_users": None},
                {"month": "2026-02", "new_users": 110, "new_posts": 55, "active_users": 7},
            ],
        ),
        (
            "top_posts",
            [{"title": "Hello", "link": "https://blog.example.com/hello", "author": "Zoë", "points": 3, "comments": 1}],
        ),
    ]


@pytest.mark.parametrize("title", [*HOSTILE, "\ud800 alone", "\x00\u2028"])
def test_json_carries_any_title_unchanged_in_plain_ascii(title: str) -> None:
    text = json_text(report(top_posts=(post(title=title),)))
    assert text.isascii()
    assert json.loads(text)["top_posts"][0]["title"] == title


def test_a_title_that_is_no_text_can_still_be_written_as_a_page() -> None:
    assert "? alone" in html(report(top_posts=(post(title="\ud800 alone"),))).encode().decode()


def test_text_is_readable_on_every_ground_in_light_and_dark() -> None:
    schemes = re.findall(r":root \{\s*(?:color-scheme[^;]*;\s*)?(--page[^}]*--link[^}]*)\}", html(report()))
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for ink in ("ink", "quiet", "link", "up", "down"):
            assert min(contrast(colours[ink], colours[ground]) for ground in ("page", "card")) >= 4.5, ink
        # What WCAG asks of shapes that carry a meaning.
        assert min(contrast(colours[bar], colours["card"]) for bar in ("bar", "now")) >= 3


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours as WCAG defines it."""
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
