"""The page tells all of a status, with any text in it, asks for nothing, and can be read by everyone."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from chalicelib.backup.status import BackupsStatus
from chalicelib.operate.status import page
from chalicelib.operate.status.page import LETTERS, spark
from nightshift.demo.blog import HOSTILE
from tests.operate.status.samples import html, status, task, with_text
from tests.tasks.monthly_report.samples import Page
from tests.tasks.monthly_report.test_page import contrast

INJECTIONS = [
    *HOSTILE,
    "</style><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "javascript:alert(1)",
    "<!--",
    "]]></svg>",
    "\x00<b>\r\n\u2028x",
    "a \u202epmuj\u202c, \u2067isolated\u2069, \u200emarked\u200f and \ufeffhidden\xad",
    "<img src=x onerror=alert(1)>" * 20,
]


def test_the_page_tells_what_is_not_well_first_and_then_everything() -> None:
    shown = Page(html(status()))
    for told in (
        "The Night Owl nightshift-prod ✗ 2 things are not well. First: daily_digest failed on 2 Mar 08:00.",
        "As of 2 March 2026, 12:00:00 UTC. All times are UTC.",
        "daily_digest failed on 2 Mar 08:00 SES is away 2 jobs were given up",
        "Tasks Last 30 days, from 1 Feb today Took Latest Next",
        "daily_digest At 08:00 every day",
        "dead on 2 Mar; failed on 1 Mar; missed on 28 Feb",
        "1.6 s",
        "failed with 3 of 104 failed 2 Mar 08:00, 4 h ago",
        "Next 3 Mar 08:00 , in 20 h 4 Mar 08:00 5 Mar 08:00 SES does not answer",
        "paused since 2 Mar 11:00 paused: It deletes too much.",
        "has not run Next every 15 minutes",
        "Running now external_sync for 1 min of 2 Mar 08:00, attempt 1 cache_warming for 1 h",
        "of 2 Mar 08:00, attempt 1, waiting to be rescued",
        "Jobs Due Paused In work Later Dead work oldest 1 h 1,234 5 3 41 21 priority 0 0 0 0 0",
        "Dead jobs , the latest 2 send_email 10 attempts, 5 h ago Maximum sending rate exceeded 0f8fad5b-",
        "send_email 1 attempt no error recorded 2",
        "The newest verified one is of 2 Mar 01:00 , 11 h ago.",
        "2 Mar 01:00 dump 1.2 GB verified 2 Mar 01:01 , drilled 2 Mar 04:00",
        "2 Mar 01:00 dump – not verified",
        "2 Mar 01:00 dump 1.2 GB failed , drilled 2 Mar 04:00 S3 said no",
        "database_cleanup task, since 2 Mar 11:00 It deletes too much. send_email jobs, since 1 Mar 12:00 SES is down",
    ):
        assert told in shown.text


def test_when_all_is_well_the_page_says_so_and_has_no_list_of_troubles() -> None:
    shown = Page(html(status(headline="All is well.", findings=())))
    assert "✓ All is well. As of" in shown.text
    assert "ol" not in shown.tags


def test_where_there_is_nothing_the_page_says_that() -> None:
    found = status()
    sections, queue = {"backups": BackupsStatus(latest=(), verified=None)}, replace(found.queue, dead=())
    shown = Page(html(replace(found, running=(), pauses=(), sections=sections, queue=queue, tasks=())))
    assert "Running now Nothing is." in shown.text
    assert "Paused Nothing is." in shown.text
    assert "Backups There are none." in shown.text
    assert "Tasks There are none." in shown.text
    assert "Dead jobs" not in shown.text


def test_an_error_that_is_long_opens_on_a_press_and_is_whole_then() -> None:
    error = " ".join(f"word{n}" for n in range(60))
    found = status()
    shown = Page(html(replace(found, findings=(replace(found.findings[0], reason=error),))))
    assert error in shown.text
    assert shown.tags.count("details") == 1


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_text_of_a_status_becomes_markup(text: str) -> None:
    poisoned, harmless = (Page(html(with_text(status(), each))) for each in (text, "x" * len(text)))
    assert poisoned.tags == harmless.tags
    assert [name for name, _ in poisoned.attributes] == [name for name, _ in harmless.attributes]
    assert {link[:1] for link in poisoned.links if link} == {"#"}
    assert " ".join(page.visible(text).split())[:100] in poisoned.text


@pytest.mark.parametrize("text", ["\ud800 alone", "a\x00b\x1b[2J\x9b1m\u2028c"])
def test_what_is_no_text_can_be_stored_all_the_same(text: str) -> None:
    stored = html(with_text(status(), text)).encode().decode()
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028]", stored)


@pytest.mark.parametrize(
    "number", [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x61C, 0xFEFF, 0xAD]
)
def test_what_turns_text_around_or_hides_it_is_seen(number: int) -> None:
    source = html(with_text(status(), f"harmless{chr(number)}gpj.exe"))
    assert chr(number) not in source
    assert source.count("harmless·gpj.exe") > 60


@pytest.mark.parametrize("text", ["👩‍💻 and 🏳️‍🌈", "می‌خواهم", "שלום, مرحبا", "1,024\u202fkB"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert text.replace("\u202f", " ") in html(with_text(status(), text))


def test_every_text_of_a_status_is_tried_by_the_injections() -> None:
    source = html(with_text(status(), "needle"))
    # Where each of them comes to stand: headline, findings, tasks, runs, jobs, backups, pauses.
    assert source.count("needle") > 60
    assert "daily_digest" not in source


def test_the_page_runs_and_fetches_nothing_and_its_policy_says_so() -> None:
    source = html(status())
    assert not re.search(r"<(script|link|img|iframe|object|form|button)|url\(|@import|\ssrc=|\son\w+=", source, re.I)
    assert "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'" in source


def test_a_strip_has_a_mark_for_each_day_of_which_shape_and_words_tell_too() -> None:
    source = html(status(tasks=(task(days=status().tasks[0].days),)))
    marks = re.findall(r'<span class="mark (\w+)" title="([^"]+)">(\w?)</span>', source)
    assert len(marks) == 30
    assert marks[-1] == ("dead", "Mon 2 Mar: 29 dead", "D")
    assert marks[-2] == ("failed", "Sun 1 Mar: 28 failed", "F")
    assert marks[0] == ("none", "Sun 1 Feb: no run", "")
    assert 'role="img" aria-label="The last 30 days: dead on 2 Mar; failed on 1 Mar; missed on 28 Feb;' in source


def test_no_two_marks_differ_by_their_colour_alone() -> None:
    rules = dict(re.findall(r"^\.mark\.(\w+) \{([^}]+)\}", html(status()), re.MULTILINE))
    assert set(rules) == set(page.LEGEND)
    colourless = {each: re.sub(r"var\(--[\w-]+\)|\b(background|color): *;", "", rule) for each, rule in rules.items()}
    assert len({(rule.strip(), LETTERS.get(each)) for each, rule in colourless.items()}) == len(page.LEGEND)


def test_a_sparkline_is_well_formed_within_its_box_and_has_its_words() -> None:
    found = re.search(r"<svg.*?</svg>", html(status()), re.DOTALL)
    assert found is not None
    drawn = ET.fromstring(found[0])
    assert drawn.findtext("title") == "The latest 3 runs that succeeded took 1.2 s to 3.4 s, the latest 1.6 s"
    line = spark((0, 5, 10, 10))
    assert line is not None
    points = [tuple(map(float, point.split(","))) for point in line.points.split()]
    assert points[0] == (3, 21)
    assert points[-1] == line.last == (93, 3)


@pytest.mark.parametrize(("durations", "points"), [((7,), "93,3"), ((0,), "93,21"), ((0, 0), "3,21 93,21")])
def test_a_sparkline_of_one_run_or_of_no_time_is_drawn(durations: tuple[int, ...], points: str) -> None:
    line = spark(durations)
    assert line is not None
    assert line.points == points
    assert spark(()) is None


TEXTS = ("ink", "quiet", "link", "good", "bad", "running", "missed", "failed", "dead")
SHAPES = ("succeeded", "skipped", "running", "missed", "failed", "dead")


def test_every_colour_can_be_told_from_its_ground_in_light_and_dark() -> None:
    schemes = re.findall(r":root \{\s*(?:color-scheme[^;]*;\s*)?(--page[^}]*--none[^}]*)\}", html(status()))
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", scheme))
        for text in TEXTS:
            assert min(contrast(colours[text], colours[ground]) for ground in ("page", "card")) >= 4.5, text
        for mark in ("failed", "dead"):
            assert contrast(colours["on-mark"], colours[mark]) >= 4.5, mark
        # What WCAG asks of shapes that carry a meaning.
        for shape in SHAPES:
            assert contrast(colours[shape], colours["card"]) >= 3, shape
