"""The mail that announces a report: its figures, five posts, the link, and nothing that a text could break."""

import re
from typing import Any

import pytest

from chalicelib.core.text import clean
from chalicelib.mail.letter import Composition, compose
from chalicelib.tasks.monthly_report.figures import Report
from chalicelib.tasks.monthly_report.page import mail_content
from nightshift.demo.blog import HOSTILE
from tests.tasks.monthly_report.samples import Page, months, post, report

LINK = "https://reports.example.com/2026-02.html?signature=a&expires=1"


def mail(of: Report, *, link: str = LINK) -> Composition:
    return compose("report", subject="The Night Owl: February 2026", content=mail_content(of, link=link))


def html(of: Report) -> Page:
    return Page("".join(mail(of).html))


def text(of: Report) -> str:
    return "".join(mail(of).text)


def test_both_parts_tell_the_figures_with_their_change() -> None:
    told = report(months=months(2000, 1000))
    for figure, value, change in (
        ("New users", "110", "10% more than in January 2026"),
        ("New posts", "55", "10% more than in January 2026"),
        ("Active users", "1,000", "50% fewer than in January 2026"),
    ):
        assert f"\n{figure}: {value} ({change})\n" in text(told)
        assert re.search(rf"{figure} [▲▼] {change} {value}", html(told).text)


def test_a_missing_figure_is_told_as_missing_in_both_parts() -> None:
    told = report(months=months(5, None))
    assert "Active users: no data (not recorded)" in text(told)
    assert "Active users not recorded no data" in html(told).text


def test_both_parts_lead_to_the_full_report() -> None:
    assert LINK in html(report()).links
    assert f"\nThe full report:\n{LINK}\n" in text(report())


def test_the_first_five_posts_are_told_in_order() -> None:
    told = report(top_posts=tuple(post(title=f"Title {n}", link=f"https://blog.example.com/{n}") for n in "abcdef"))
    assert re.findall(r"^Title .$", text(told), re.MULTILINE) == [f"Title {n}" for n in "abcde"]
    assert html(told).links[2:] == [f"https://blog.example.com/{n}" for n in "abcde"]


def test_without_posts_there_is_no_heading_for_them() -> None:
    assert "Top posts" in text(report())
    assert "Top posts" in html(report()).text
    assert "Top posts" not in text(report(top_posts=())) + html(report(top_posts=())).text


def test_the_reader_is_greeted_by_name_and_told_why_the_mail_came_without_an_unsubscribe_link() -> None:
    composition = mail(report())
    for part in (composition.html, composition.text):
        assert part[1::2] == ("name",)
        assert "because you are an administrator of The Night Owl." in part[2]
        assert "nsubscribe" not in "".join(part)


@pytest.mark.parametrize("field", ["title", "author", "link", "site_name", "site_url"])
@pytest.mark.parametrize("hostile", [*HOSTILE, "\"'><script>alert(1)</script>", "\x00name\x00 and\r\nBcc: x", "<!--"])
def test_no_text_of_a_report_becomes_markup_or_a_hole(field: str, hostile: str) -> None:
    value = f"https://{hostile}" if field in {"link", "site_url"} else hostile
    changed: dict[str, Any] = {field: value} if field.startswith("site") else {"top_posts": (post(**{field: value}),)}
    page, harmless = html(report(**changed)), html(report())
    assert page.tags == harmless.tags
    assert [name for name, _ in page.attributes] == [name for name, _ in harmless.attributes]
    assert mail(report(**changed)).text[1::2] == mail(report(**changed)).html[1::2] == ("name",)
    if field != "site_url":
        assert clean(value) in text(report(**changed))


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "//evil.example", ""])
def test_a_post_that_leads_anywhere_but_to_the_web_keeps_its_title_and_loses_its_link(link: str) -> None:
    told = report(top_posts=(post(link=link),))
    assert html(told).links == ["https://blog.example.com", LINK]
    assert "Hello\n3 points · 1 comment · Zoë\n\n" in text(told)


def test_the_same_report_gives_the_same_mail() -> None:
    assert mail(report()).to_json() == mail(report()).to_json()


def test_the_mail_requests_nothing() -> None:
    source = "".join(mail(report()).html)
    assert not re.search(r"<img|<link|<script|<iframe|<svg|url\(|src=|background=|@import", source, re.IGNORECASE)
