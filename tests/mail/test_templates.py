"""The digest's two parts: complete, safe with any title and link, self-contained, small and readable."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from chalicelib.mail.composition import PERSONAL, Composition, compose
from chalicelib.mail.text import clean
from nightshift.demo.blog import HOSTILE, make_posts

SITE = "https://blog.example.com"


def post(**changed: Any) -> dict[str, Any]:
    return {"title": "Hello", "link": f"{SITE}/hello", "author": "Zoë", "points": 3, "comments": 2} | changed


def digest(*posts: dict[str, Any], more: int = 0) -> Composition:
    content = {"site_name": "The Night Owl", "site_url": SITE, "day": "Wednesday, 3 August 2016"}
    counts = {"posts": posts, "count": len(posts) + more, "more": more}
    return compose("digest", subject="The Night Owl", content=content | counts)


def html(*posts: dict[str, Any], more: int = 0) -> str:
    return "".join(digest(*posts, more=more).html)


def text(*posts: dict[str, Any], more: int = 0) -> str:
    return "".join(digest(*posts, more=more).text)


class Page(HTMLParser):
    """What a mail client reads: tags, attributes, and the words of each heading."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.headings: list[str] = []
        self._in_heading = False
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag == "h2":
            self._in_heading = True
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_heading = self._in_heading and tag != "h2"

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.headings[-1] = (self.headings[-1] + data).strip()

    @property
    def links(self) -> list[str | None]:
        return [value for name, value in self.attributes if name == "href"]


def test_every_post_stands_in_both_parts_with_its_link_in_the_given_order() -> None:
    posts = [post(title=f"Title {n}", link=f"{SITE}/{n}?a=1&b=2") for n in "abc"]
    page = Page(html(*posts))
    assert page.headings == ["Title a", "Title b", "Title c"]
    assert page.links[1:-1] == [entry["link"] for entry in posts]
    assert re.findall(r"^Title .$|^https.*/.\?.*$", text(*posts), re.MULTILINE) == [
        entry[key] for entry in posts for key in ("title", "link")
    ]


@pytest.mark.parametrize("title", [*HOSTILE, "\x00name\x00 and\r\nBcc: x", "<b>\"Q\" & 'A'</b>"])
def test_a_title_is_shown_as_written_and_is_never_markup(title: str) -> None:
    page = Page(html(post(title=title, author=title)))
    assert page.headings == [clean(title)]
    assert page.tags == Page(html(post())).tags
    assert f"\n{clean(title)}\n" in text(post(title=title))


def test_markup_in_titles_is_escaped() -> None:
    source = html(post(title="<script>\"R&D\" 'n'</script>"))
    assert "&lt;script&gt;&#34;R&amp;D&#34; &#39;n&#39;&lt;/script&gt;" in source


@pytest.mark.parametrize(
    "link",
    ["javascript:alert(1)", "JavaScript:alert(1)", "\x01javascript:x", "data:text/html,x", "//evil.example", "/a", ""],
)
def test_a_link_to_anything_but_the_web_is_left_out_and_its_title_stays(link: str) -> None:
    page = Page(html(post(link=link)))
    assert page.headings == ["Hello"]
    assert page.links == [SITE, "unsubscribe_url"]
    assert "Hello\n3 points · 2 comments · Zoë\n\n" in text(post(link=link))


def test_a_link_cannot_leave_its_attribute() -> None:
    link = "HTTPS://example.com/ onclick=x \"'><script>alert(1)</script>"
    page = Page(html(post(link=link)))
    assert link in page.links
    assert page.tags == Page(html(post())).tags


def test_the_posts_that_did_not_fit_are_told_only_when_there_are_some() -> None:
    for part in (html, text):
        assert "and 37 more" in part(post(), more=37)
        assert "38 new posts." in part(post(), more=37)
        assert " more" not in part(post())
        assert "newest" not in part(post())


def test_one_is_singular() -> None:
    for part in (html, text):
        one, many = part(post(points=1, comments=1)), part(post(points=0, comments=2), post())
        assert "1 new post." in one
        assert "1 point · 1 comment ·" in one
        assert "2 new posts." in many
        assert "0 points · 2 comments ·" in many


def test_a_post_without_author_ends_with_its_comments() -> None:
    assert "2 comments\n" in text(post(author=None))
    assert "None" not in html(post(author=None)) + text(post(author=None))


def test_both_parts_have_a_hole_for_the_name_and_the_unsubscribe_link() -> None:
    composition = digest(post())
    assert composition.html[1::2] == PERSONAL
    assert composition.text[1::2] == PERSONAL
    assert composition.html[2].endswith('href="')
    assert composition.text[2].endswith("\n")
    assert composition.text[4] == ""


def test_the_mail_requests_nothing() -> None:
    source = html(post(), more=1)
    assert not re.search(r"<img|<link|<script|<iframe|url\(|src=|background=|@import", source, re.IGNORECASE)


def test_words_of_any_length_wrap_and_titles_run_in_their_own_direction() -> None:
    source = html(post())
    assert "overflow-wrap:anywhere;word-break:break-word" in source
    assert re.search(r'<td class="line" dir="auto"[^>]*>\s*<h2', source)


def test_text_is_readable_on_every_ground_in_light_and_dark() -> None:
    source = html(post(), more=1)
    light = dict(re.findall(r'class="(\w+)[^"]*" [^>]*?(?:color|background):(#\w{6})', source))
    dark = dict(re.findall(r"\.(\w+) \{ (?:color|background): (#\w{6})", source))
    for colours in (light, dark):
        for ground in ("page", "card"):
            for ink in ("ink", "quiet", "link"):
                assert contrast(colours[ink], colours[ground]) >= 4.5


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours as WCAG defines it."""
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_digest_of_twenty_posts_is_small() -> None:
    rows = list(make_posts(240, until=datetime(2016, 8, 4, tzinfo=UTC), days=1, seed=1))[-20:]
    entries = [post(title=row["title"], link=row["url"] or SITE, author=row["author"]) for row in rows]
    assert len(html(*entries, more=220).encode()) < 20_000
