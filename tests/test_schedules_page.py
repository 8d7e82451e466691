"""The page of schedules tells what is."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import app
from chalicelib import tasks
from chalicelib.eventbridge import rule_of
from chalicelib.schedule import NAMED, Schedule

PAGE = (Path(__file__).parent.parent / "docs" / "schedules.md").read_text(encoding="utf-8")
NOW = datetime(2026, 11, 25, tzinfo=UTC)
# When the clocks change in Berlin.
CHANGES = {"29 March": datetime(2026, 3, 28, 23, tzinfo=UTC), "25 October": datetime(2026, 10, 24, 22, tzinfo=UTC)}


def rows(header: str) -> list[list[str]]:
    """Return the cells of the table that has this header, line by line, without backticks."""
    _, found, rest = PAGE.partition(f"{header}\n")
    assert found, header
    lines = rest.split("\n\n")[0].splitlines()[1:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def test_the_tasks_have_the_schedules_and_policies_that_the_page_tells() -> None:
    told = {}
    for name, text, overlap, catch_up, _why in rows("| task | due | `overlap` | `catch_up` | why |"):
        told[name] = (text, overlap, catch_up)
    expected = {}
    for name, schedule in app.SCHEDULES.items():
        task = tasks.find(name)
        limit = f", {task.catch_up_limit}" if task.catch_up == "all" else ""
        expected[name] = (schedule.text, task.overlap, f"{task.catch_up}{limit}")
        assert task.grace == timedelta(minutes=15)
    assert told == expected


@pytest.mark.parametrize(("text", "told", "surplus"), rows("| schedule | rule | dropped a day, at most |"))
def test_a_rule_is_what_the_page_tells(text: str, told: str, surplus: str) -> None:
    rule = rule_of(Schedule(text), now=NOW)
    assert (rule.expression, rule.surplus) == (re.split("`,", told)[0], int(surplus))


def fires_of(text: str, day: str) -> Iterator[str]:
    schedule, start = Schedule(f"{text} Europe/Berlin"), CHANGES[day]
    today = (start + timedelta(hours=12)).date()
    for fire in schedule.between(start, start + timedelta(days=2), limit=99):
        local = fire.astimezone(schedule.zone)
        if local.date() == today:
            yield f"{local:%H:%M}"


@pytest.mark.parametrize(
    ("text", "day", "fires"),
    [
        ("30 2 * * *", "29 March", ["03:00"]),
        ("0,30 2 * * *", "29 March", ["03:00"]),
        ("*/15 2 * * *", "29 March", []),
        ("30 2 * * *", "25 October", ["02:30"]),
        ("30 * * * *", "25 October", [f"{hour:02}:30" for hour in (0, 1, 2, *range(2, 24))]),
    ],
)
def test_where_the_clocks_change_the_fires_are_those_that_the_page_tells(text: str, day: str, fires: list[str]) -> None:
    assert list(fires_of(text, day)) == fires
    assert [text, day] in [row[:2] for row in rows("| schedule | on | here | elsewhere |")]


def test_every_name_of_cron_is_on_the_page() -> None:
    assert [name for name in NAMED if f"`{name}`" not in PAGE] == []
