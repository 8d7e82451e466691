"""Every link of every page leads somewhere, and no page is without a link that leads to it."""

import os
from collections import Counter
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, Link, Page, anchor_of

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
PICTURES = ROOT / "docs" / "pictures"


def target_of(page: Page, link: Link) -> tuple[Path, str]:
    """Return the file that a relative link leads to, and the anchor in it."""
    file, _, anchor = link.target.partition("#")
    return (Path(os.path.normpath(page.path.parent / file)) if file else page.path), anchor


def why_not(page: Page, link: Link) -> str | None:
    """Return why a link leads nowhere; None where it leads somewhere. What another site has is not asked."""
    if "://" in link.target:
        return None if link.target.startswith("https://") else f"{link.target} is not https"
    path, anchor = target_of(page, link)
    if not path.is_relative_to(ROOT):
        return f"{link.target} leads out of the project"
    if not path.exists():
        return f"there is no {link.target}"
    if anchor and anchor not in Page(path).anchors:
        return f"{path.relative_to(ROOT)} has no heading for #{anchor}"
    return None


@every_page
def test_each_link_leads_to_what_there_is(page: Page) -> None:
    assert [why for why in (why_not(page, link) for link in page.links) if why] == []


@every_page
def test_no_two_headings_have_one_anchor(page: Page) -> None:
    assert [anchor for anchor, times in Counter(page.anchors).items() if times > 1] == []


@every_page
def test_each_picture_says_in_words_what_it_shows(page: Page) -> None:
    pictures = [link for link in page.links if link.is_picture]
    assert [link.target for link in pictures if len(link.words.split()) < 3] == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path: Path) -> None:
    page = Page(ROOT / "docs" / "queue.md")

    def link(target: str) -> Link:
        return Link(is_picture=False, words="there", target=target)

    assert why_not(page, link("logs.md#traces")) is None
    assert why_not(page, link("#handlers")) is None
    assert why_not(page, link("log.md")) == "there is no log.md"
    assert why_not(page, link("logs.md#spans")) == "docs/logs.md has no heading for #spans"
    assert why_not(page, link("#footmen")) == "docs/queue.md has no heading for #footmen"
    assert why_not(page, link("../../elsewhere.md")) == "../../elsewhere.md leads out of the project"
    assert why_not(page, link("http://example.com")) == "http://example.com is not https"


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("What alarms", "what-alarms"),
        ("A rule of your own, in five lines", "a-rule-of-your-own-in-five-lines"),
        ("`make bench`: what it prints", "make-bench-what-it-prints"),
        ("[0.1.0] - 2026-11-29", "010---2026-11-29"),
    ],
)
def test_anchors_are_those_of_github(heading: str, anchor: str) -> None:
    assert anchor_of(heading) == anchor


def test_the_readme_leads_to_every_page() -> None:
    readme = next(page for page in PAGES if page.name == "README.md")
    _, _, table = readme.text.partition("\n## Where to go next\n")
    last = Page(readme.path)
    linked = {target_of(last, link)[0] for link in last.links if f"]({link.target})" in table}
    assert [page.name for page in PAGES if page.path not in linked | {readme.path}] == []


def test_each_picture_is_on_a_page_and_made_by_a_script_beside_it() -> None:
    shown = {target_of(page, link)[0] for page in PAGES for link in page.links if link.is_picture}
    pictures = {path for path in PICTURES.iterdir() if path.suffix in {".png", ".svg"}}
    assert pictures
    assert pictures <= shown
    assert [picture.name for picture in pictures if not picture.with_suffix(".py").exists()] == []
