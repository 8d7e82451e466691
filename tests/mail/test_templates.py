"""The two parts of a digest and of a notice: complete, safe with any text and link, self-contained and readable."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from chalicelib.core.text import clean
from chalicelib.mail.letter import PERSONAL, Composition, compose
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


def test_both_parts_list_posts_with_links_in_order() -> None:
    posts = [post(title=f"Title {n}", link=f"{SITE}/{n}?a=1&b=2") for n in "abc"]
    page = Page(html(*posts))
    assert page.headings == ["Title a", "Title b", "Title c"]
    assert page.links[1:-1] == [entry["link"] for entry in posts]
    assert re.findall(r"^Title .$|^https.*/.\?.*$", text(*posts), re.MULTILINE) == [
        entry[key] for entry in posts for key in ("title", "link")
    ]


@pytest.mark.parametrize("title", [*HOSTILE, "\x00name\x00 and\r\nBcc: x", "<b>\"Q\" & 'A'</b>"])
def test_title_is_shown_as_written_and_is_never_markup(title: str) -> None:
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
def test_link_outside_the_web_is_left_out_and_title_stays(link: str) -> None:
    page = Page(html(post(link=link)))
    assert page.headings == ["Hello"]
    assert page.links == [SITE, "unsubscribe_url"]
    assert "Hello\n3 points · 2 comments · Zoë\n\n" in text(post(link=link))


def test_link_cannot_leave_its_attribute() -> None:
    link = "HTTPS://example.com/ onclick=x \"'><script>alert(1)</script>"
    page = Page(html(post(link=link)))
    assert link in page.links
    assert page.tags == Page(html(post())).tags


def test_more_posts_are_mentioned_only_if_any() -> None:
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


def test_post_without_author_ends_with_its_comments() -> None:
    assert "2 comments\n" in text(post(author=None))
    assert "None" not in html(post(author=None)) + text(post(author=None))


def test_both_parts_have_placeholders_for_name_and_unsubscribe_link() -> None:
    composition = digest(post())
    assert composition.html[1::2] == PERSONAL
    assert composition.text[1::2] == PERSONAL
    assert composition.html[2].endswith('href="')
    assert composition.text[2].endswith("\n")
    assert composition.text[4] == ""


def test_mail_requests_nothing() -> None:
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


def test_digest_of_twenty_posts_is_small() -> None:
    rows = list(make_posts(240, until=datetime(2016, 8, 4, tzinfo=UTC), days=1, seed=1))[-20:]
    entries = [post(title=row["title"], link=row["url"] or SITE, author=row["author"]) for row in rows]
    assert len(html(*entries, more=220).encode()) < 20_000


LINK = {"label": "Confirm", "url": f"{SITE}/confirm?a=1&b=2"}


def notice(*paragraphs: str, subject: str = "Confirm your address", **content: Any) -> Composition:
    site = {"site_name": "The Night Owl", "site_url": SITE}
    return compose("notice", subject=subject, content=site | {"paragraphs": paragraphs or ("One.", "Two.")} | content)


def notice_html(*paragraphs: str, **content: Any) -> str:
    return "".join(notice(*paragraphs, **content).html)


def notice_text(*paragraphs: str, **content: Any) -> str:
    return "".join(notice(*paragraphs, **content).text)


def test_notice_has_paragraphs_in_order_then_action() -> None:
    for part in (notice_html(action=LINK), notice_text(action=LINK)):
        places = [part.rindex(words) for words in ("Confirm your address", "Hi ", "One.", "Two.", "Confirm")]
        assert places == sorted(places)
    assert Page(notice_html(action=LINK)).links == [SITE, LINK["url"]]
    assert f"\nConfirm:\n{LINK['url']}\n" in notice_text(action=LINK)


@pytest.mark.parametrize("content", [{}, {"action": None}])
def test_notice_without_action_has_no_button(content: dict[str, Any]) -> None:
    assert Page(notice_html(**content)).links == [SITE]
    assert 'class="button"' not in notice_html(**content)
    assert notice_text(**content).endswith("Two.\n\nThe Night Owl sent you this mail.")


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "JavaScript:x", "\x01javascript:x", "data:text/html,x", "/a", ""]
)
def test_action_outside_the_web_is_left_out(url: str) -> None:
    assert notice(action=LINK | {"url": url}).html == notice().html
    assert notice(action=LINK | {"url": url}).text == notice().text


@pytest.mark.parametrize("words", [*HOSTILE, "\x00name\x00 and\r\nBcc: x", "<b>\"Q\" & 'A'</b>"])
def test_notice_text_is_never_markup(words: str) -> None:
    action = {"label": words, "url": f"https://{words}"}
    page = Page(notice_html(words, subject=words, action=action, site_name=words))
    assert page.tags == Page(notice_html(action=LINK)).tags
    assert page.links[1] == clean(f"https://{words}")
    assert notice(words, subject=words, action=action).html[1::2] == ("name",)
    assert notice_text(words, subject=words, action=action).split("\n").count(clean(words)) == 2


def test_notice_has_placeholder_for_name_only() -> None:
    assert notice(action=LINK).html[1::2] == notice(action=LINK).text[1::2] == ("name",)


def test_each_text_of_a_notice_runs_in_its_own_direction_and_wraps() -> None:
    source = notice_html("שלום", "Hello", action=LINK)
    assert len(re.findall(r'<p class="ink" dir="auto"', source)) == 2
    assert re.search(r'<h1 class="ink" dir="auto"', source)
    assert re.search(r'<div dir="auto"[^>]*>\s*<table', source)
    assert 'Hi <span dir="auto">name</span>,' in source
    assert "overflow-wrap:anywhere;word-break:break-word" in source


def test_notice_shows_its_first_paragraph_in_the_list_of_mails() -> None:
    first = re.search(r'<div style="display:none[^>]*>\s*(.*?)\s*</div>', notice_html("At a glance.", "Later."))
    assert first
    assert first[1] == "At a glance."


def test_notice_requests_nothing() -> None:
    source = notice_html(action=LINK)
    assert not re.search(r"<img|<link|<script|<iframe|url\(|src=|background=|@import", source, re.IGNORECASE)


def test_notice_is_readable_on_every_ground_in_light_and_dark() -> None:
    source = notice_html(action=LINK)
    light = dict(re.findall(r'class="(?:foot )?(\w+)[^"]*" [^>]*?(?<!-)(?:color|background):(#\w{6})', source))
    dark = dict(re.findall(r"\.(\w+) \{ (?:color|background): (#\w{6})", source))
    for colours in (light, dark):
        for ground in ("page", "card"):
            for ink in ("ink", "quiet", "link"):
                assert contrast(colours[ink], colours[ground]) >= 4.5
        assert contrast(colours["label"], colours["button"]) >= 4.5
        # A button must stand out from the card.
        assert contrast(colours["button"], colours["card"]) >= 3


def test_notice_is_small() -> None:
    assert len(notice_html(*["A paragraph of some words."] * 5, action=LINK).encode()) < 6_000
