"""The status as one self-contained HTML page: no script, no font, no picture."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chalicelib.core.context import Context
from chalicelib.core.part import Part
from chalicelib.core.templates import templates
from chalicelib.core.text import clean
from chalicelib.operate.operations import Nothing, sections_of
from chalicelib.operate.status.status import Status, read
from chalicelib.operate.status.tasks import BAD, WORST, Day
from chalicelib.operate.status.words import at, between, day, size, some, took
from chalicelib.schedule.schedule import Schedule

if TYPE_CHECKING:
    from jinja2 import Environment

KEY = "status/index.html"
# Anyone who has the link can read the page, so the link lasts just long enough to open it.
LINK_SECONDS = 900
TEMPLATES = Path(__file__).parent / "templates"
# Persian words and emoji contain these joiners; other invisible characters can reverse or hide text.
JOINERS = "\u200c\u200d"
LEGEND = ("succeeded", "skipped", "running", "missed", "failed", "dead", "none")
# Letters for two marks of the same shape, so that no colour is needed to distinguish them.
LETTERS = {"dead": "D", "failed": "F"}
# How many bad days are named.
MAX_NAMED = 3
WIDTH, HEIGHT, MARGIN = 96, 24, 3


def store(context: Context, schedules: Mapping[str, Schedule], parts: Collection[Part]) -> Status:
    """Store the page in the bucket and return the status. Raises TransientError, and what the database raises."""
    found = read(context, schedules, parts)
    context.store.put(KEY, html(found, parts).encode(), content_type="text/html; charset=utf-8")
    return found


def store_page(
    context: Context, _request: Nothing, schedules: Mapping[str, Schedule], parts: Collection[Part]
) -> dict[str, Any]:
    """Store the page, and return a link that opens it for a quarter of an hour."""
    status = store(context, schedules, parts)
    link = context.store.link(KEY, seconds=LINK_SECONDS)
    return {"is_well": status.is_well, "headline": status.headline, "link": link, "seconds": LINK_SECONDS}


def html(status: Status, parts: Collection[Part]) -> str:
    """Return the page of a deployment with these parts."""
    return environment(parts).get_template("status.html.j2").render(content(status, parts))


def content(status: Status, parts: Collection[Part]) -> dict[str, Any]:
    """Return the template's variables: the status, the templates of its sections, and the functions that format it."""
    now = status.read_at

    def ago(moment: datetime) -> str:
        return f"in {between(now, moment)}" if moment > now else f"{between(moment, now)} ago"

    return {
        "status": status,
        "sections": [section.template.name for section in sections_of(parts)],
        "read_at": f"{now.day} {now.astimezone(UTC):%B %Y, %H:%M:%S} UTC",
        "letters": LETTERS,
        "legend": LEGEND,
        "at": lambda moment: at(moment, now=now),
        "ago": ago,
        "day": lambda date: day(date, now=now),
        "between": between,
        "took": took,
        "size": size,
        "some": some,
        "spark": spark,
        "title": title,
        "summary": lambda days: summary(days, now=now),
        "troubles": lambda days: troubles(days, now=now),
    }


def environment(parts: Collection[Part], *folders: Path) -> Environment:
    """Return the environment of the templates of the page, of the parts, and of other folders that extend them."""
    of_parts = [section.template.parent for section in sections_of(parts)]
    return templates(TEMPLATES, *of_parts, *folders, clean=visible)


def visible(text: str) -> str:
    """Return the text as the page shows it, with a dot for each invisible character."""
    return "".join(_visible_character(each) for each in clean(text))


def _visible_character(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    return " " if character.isspace() else "·"


@dataclass(frozen=True, kw_only=True)
class Spark:
    """A sparkline: its points in pixels, its last point, and what it shows in words."""

    points: str
    last: tuple[float, float]
    text: str


def spark(durations: Sequence[int]) -> Spark | None:
    """Return the sparkline of durations in milliseconds, from zero up, the latest at the right; None without any."""
    if not durations:
        return None
    longest = max(max(durations), 1)
    step = (WIDTH - 2 * MARGIN) / max(len(durations) - 1, 1)
    # A single run is at the right, like the latest of several.
    first = MARGIN if len(durations) > 1 else WIDTH - MARGIN
    points = [
        (round(first + step * place, 1), round(HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * duration / longest, 1))
        for place, duration in enumerate(durations)
    ]
    range_ = f"{took(min(durations))} to {took(max(durations))}, the latest {took(durations[-1])}"
    text = f"The latest {len(durations)} runs that succeeded took {range_}"
    return Spark(
        points=" ".join(f"{x:g},{y:g}" for x, y in points),
        last=points[-1],
        text=text if len(durations) > 1 else f"The one run that succeeded took {took(durations[-1])}",
    )


def title(of: Day) -> str:
    """Return a day with the results of its fires: Tue 24 Nov: 1 failed, 95 succeeded."""
    counted = ", ".join(f"{of.counts[status]:,} {status}" for status in WORST if status in of.counts)
    return f"{of.date:%a} {of.date.day} {of.date:%b}: {counted or 'no run'}"


def summary(days: Sequence[Day], *, now: datetime) -> str:
    """Return the days in one sentence: The last 30 days: dead on 24 Nov; 28 days succeeded; 1 day none."""
    found = frozenset(each.status for each in days)
    bad = [f"{status} on {', '.join(_dates(days, status, now=now))}" for status in WORST if status in BAD & found]
    rest = {status: sum(each.status == status for each in days) for status in (*WORST, "none")}
    good = [f"{some(number, 'day')} {status}" for status, number in rest.items() if number and status not in BAD]
    return f"The last {len(days)} days: {'; '.join(bad + good)}."


def troubles(days: Sequence[Day], *, now: datetime) -> str:
    """Return the bad days by status, latest first: dead on 24 Nov; failed on 9 Nov, 3 Nov and 2 more."""
    parts = []
    for status in WORST:
        if status in BAD and (dates := _dates(days, status, now=now)):
            more = f" and {len(dates) - MAX_NAMED} more" if len(dates) > MAX_NAMED else ""
            parts.append(f"{status} on {', '.join(dates[:MAX_NAMED])}{more}")
    return "; ".join(parts)


def _dates(days: Sequence[Day], status: str, *, now: datetime) -> list[str]:
    """Return the days with a status, latest first."""
    return [day(each.date, now=now) for each in reversed(days) if each.status == status]
