"""The page as a browser shows it: nothing sticks out, every text can be read, nothing in it runs."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from chalicelib.operate.status.status import Status
from nightshift.demo.blog import HOSTILE
from tests.e2e.browser.browser import Browser
from tests.operate.status.conftest import Deployment
from tests.operate.status.samples import html, status, with_text
from tests.operate.status.test_page import INJECTIONS

WIDTHS = (320, 360, 768, 1200)
SCHEMES = ("light", "dark")

# What reaches beyond the window, or beyond its own box where that hides it. A mark's letter may be cut.
STICKING_OUT = """
[...document.querySelectorAll("body *")].filter((element) => {
  const box = element.getBoundingClientRect();
  const isSeen = box.width > 1 && box.height > 1 && !element.closest(".mark");
  return isSeen && (box.right > innerWidth + 0.5 || box.left < -0.5);
}).map((element) => element.outerHTML.slice(0, 120))
"""
# Each text with its colour, that of the ground behind it, and its size.
TEXTS = """
[...document.querySelectorAll("body *")].flatMap((element) => {
  const has = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
  if (!has || element.closest("svg") || !element.checkVisibility()) return [];
  let ground = element;
  const isClear = (colour) => colour === "rgba(0, 0, 0, 0)" || colour === "transparent";
  while (ground && isClear(getComputedStyle(ground).backgroundColor)) ground = ground.parentElement;
  const style = getComputedStyle(element);
  return [[
    style.color, getComputedStyle(ground).backgroundColor, parseFloat(style.fontSize), Number(style.fontWeight),
    element.outerHTML.slice(0, 120),
  ]];
})
"""


def show(chromium: Browser, folder: Path, shown: Status, *, width: int = 1200, scheme: str = "light") -> str:
    """Open the page of a status in a window, and return its address."""
    file = folder / "page.html"
    file.write_text(html(shown), encoding="utf-8")
    chromium.show(width=width, scheme=scheme)
    chromium.open(file.as_uri())
    return file.as_uri()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out_of_a_window_of_any_width(chromium: Browser, tmp_path: Path, width: int) -> None:
    for text in (None, "unbroken" * 40, "W" * 64, *HOSTILE):
        show(chromium, tmp_path, status() if text is None else with_text(status(), text), width=width)
        assert chromium.evaluate("document.documentElement.scrollWidth") <= width, text
        assert chromium.evaluate(STICKING_OUT) == [], text


@pytest.mark.parametrize("width", [360, 1200])
def test_a_history_of_thousands_of_runs_is_all_there_and_fits(
    chromium: Browser, tmp_path: Path, with_history: Deployment, width: int
) -> None:
    found = with_history.read()
    show(chromium, tmp_path, found, width=width)
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.evaluate(STICKING_OUT) == []
    text = chromium.evaluate("document.body.innerText")
    for told in (found.headline, *(task.name for task in found.tasks), *(each.matter for each in found.findings)):
        assert told in text
    marks = "[...document.querySelectorAll('.strip')].map((strip) => [...strip.children].map((mark) => mark.className))"
    assert chromium.evaluate(marks) == [[f"mark {day.status}" for day in task.days] for task in found.tasks]


def test_on_a_telephone_no_two_texts_lie_on_each_other(chromium: Browser, tmp_path: Path) -> None:
    show(chromium, tmp_path, status(), width=360)
    overlapping = """
    (() => {
      const found = [];
      for (const task of document.querySelectorAll(".task")) {
        const boxes = [...task.children].map((child) => [child.className, child.getBoundingClientRect()]);
        for (const [one, a] of boxes) for (const [other, b] of boxes) {
          const isApart = a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
          // The sparkline stands in what the name leaves free.
          if (one < other && !isApart && !(one === "name" && other === "took")) found.push([one, other]);
        }
      }
      return found;
    })()
    """
    assert chromium.evaluate(overlapping) == []
    free = """
    [...document.querySelectorAll(".task")].every((task) => {
      const range = document.createRange();
      range.selectNodeContents(task.querySelector(".words"));
      const words = Math.max(...[...range.getClientRects()].map((box) => box.right));
      const spark = task.querySelector(".took").firstElementChild;
      return words < spark.getBoundingClientRect().left;
    })
    """
    assert chromium.evaluate(free)


@pytest.mark.parametrize("width", WIDTHS)
def test_which_days_the_strips_are_of_is_told_in_a_window_of_any_width(
    chromium: Browser, tmp_path: Path, width: int
) -> None:
    show(chromium, tmp_path, status(), width=width)
    told = chromium.evaluate("document.querySelector('#tasks').innerText").split("daily_digest")[0]
    assert " ".join(told.split()).startswith("Tasks Last 30 days, from 1 Feb today")
    head, strip = (
        chromium.evaluate(
            f"(({{left, right}}) => [left, right])(document.querySelector('{each}').getBoundingClientRect())"
        )
        for each in (".ends", ".strip")
    )
    assert head == strip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_text_can_be_read_on_its_ground(chromium: Browser, tmp_path: Path, scheme: str) -> None:
    show(chromium, tmp_path, status(), scheme=scheme)
    texts = chromium.evaluate(TEXTS)
    assert len(texts) > 100
    for colour, ground, size, weight, where in texts:
        is_large = size >= 24 or (size >= 18.66 and weight >= 700)
        assert contrast(colour, ground) >= (3 if is_large else 4.5), where
    grounds = {ground for _, ground, *_ in texts}
    assert ("rgb(255, 255, 255)" in grounds) == (scheme == "light")


@pytest.mark.parametrize("text", INJECTIONS)
def test_nothing_in_a_text_runs_or_is_fetched(chromium: Browser, tmp_path: Path, text: str) -> None:
    address = show(chromium, tmp_path, with_text(status(), text))
    # Press and open everything there is to press and open.
    chromium.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    chromium.evaluate("document.querySelectorAll('a').forEach((each) => each.click())")
    assert chromium.requests == [address]
    assert chromium.complaints == []
    assert chromium.evaluate("document.scripts.length + document.images.length") == 0


def test_were_a_script_to_come_in_the_policy_would_stop_it(chromium: Browser, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    source = html(status()).replace("</main>", "<img src=x onerror='stop()'><script>stop()</script></main>")
    file.write_text(source, encoding="utf-8")
    chromium.open(file.as_uri())
    for directive in ("img-src", "script-src"):
        assert any("Content Security Policy" in each and directive in each for each in chromium.complaints)


def test_whoever_cannot_see_the_strip_and_the_line_hears_them(chromium: Browser, tmp_path: Path) -> None:
    show(chromium, tmp_path, status())
    nodes = chromium.call("Accessibility.getFullAXTree")["nodes"]
    names = {(_value(node, "role"), _value(node, "name")) for node in nodes if not node["ignored"]}
    pictures = {name for role, name in names if role in {"image", "img"}}
    assert any(str(name).startswith("The last 30 days: dead on 2 Mar; failed on 1 Mar") for name in pictures)
    assert "The latest 3 runs that succeeded took 1.2 s to 3.4 s, the latest 1.6 s" in pictures
    headings = {name for role, name in names if role == "heading"}
    assert {"Tasks", "Queue", "Running now", "Backups", "Paused", "daily_digest"} <= headings


def test_the_page_says_its_language_what_it_is_and_where_each_part_begins(chromium: Browser, tmp_path: Path) -> None:
    show(chromium, tmp_path, status())
    assert chromium.evaluate("document.documentElement.lang") == "en"
    assert chromium.evaluate("document.title")
    levels = chromium.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((each) => Number(each.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = chromium.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
    assert len(set(ids)) == len(ids)
    links = chromium.evaluate("[...document.querySelectorAll('a')].map((each) => each.hash.slice(1))")
    assert set() < set(links) <= set(ids)
    assert chromium.evaluate("document.querySelectorAll('main').length") == 1
    assert chromium.evaluate("[...document.querySelectorAll('th')].every((each) => each.scope)")


def test_whoever_has_no_mouse_comes_to_everything_in_its_order_and_sees_where(
    chromium: Browser, tmp_path: Path
) -> None:
    show(chromium, tmp_path, with_text(status(), "word " * 60))
    chromium.call("Emulation.setFocusEmulationEnabled", enabled=True)
    chromium.evaluate("window.stops = [...document.querySelectorAll('a, summary')]")
    stops = chromium.evaluate("stops.length")
    assert chromium.evaluate("new Set(stops.map((each) => each.tagName)).size") == 2
    for stop in range(stops):
        chromium.press("Tab", 9)
        assert chromium.evaluate("stops.indexOf(document.activeElement)") == stop
        assert chromium.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    for is_open in (False, True, False):
        # What was pressed stays where it is, to be pressed again.
        assert chromium.evaluate(f"stops.indexOf(document.activeElement) === {stops - 1}")
        assert chromium.evaluate("document.activeElement.parentElement.open") is is_open
        assert chromium.evaluate("document.activeElement.getBoundingClientRect().height") > 0
        chromium.press("Enter", 13)


def _value(node: Any, key: str) -> Any:
    return node.get(key, {}).get("value")


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio, as WCAG defines it, of two colours as a browser computes them."""
    darker, lighter = sorted(map(_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    name, _, numbers = colour.removesuffix(")").partition("(")
    assert name == "rgb", f"{colour} lets something through"
    shares = [int(number) / 255 for number in numbers.split(",")]
    red, green, blue = (share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
