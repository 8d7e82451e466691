"""The page of schedules tells what is."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
from croniter import CroniterBadDateError  # type: ignore[import-untyped]
from cronsim import CronSimError

import app
from chalicelib.core.errors import ConfigurationError
from chalicelib.runs.task import find_task
from chalicelib.schedule.eventbridge import rule_of
from chalicelib.schedule.schedule import NAMED, Schedule
from tests.schedule import elsewhere

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text(encoding="utf-8")
Told = list[str] | type[Exception]
NOW = datetime(2026, 11, 25, tzinfo=UTC)


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
    for name, schedule in app.app.schedules.items():
        task = find_task(name)
        limit = f", {task.catch_up_limit}" if task.catch_up == "all" else ""
        expected[name] = (schedule.text, task.overlap, f"{task.catch_up}{limit}")
        assert task.grace == timedelta(minutes=15)
    assert told == expected


@pytest.mark.parametrize(("text", "told", "surplus"), rows("| schedule | rule | dropped a day, at most |"))
def test_a_rule_is_what_the_page_tells(text: str, told: str, surplus: str) -> None:
    rule = rule_of(Schedule(text), now=NOW)
    assert (rule.expression, rule.surplus) == (re.split("`,", told)[0], int(surplus))


# In each row's zone: from when until when it is looked at, and the fires of each engine, or what it raises.
SPRING = ("Europe/Berlin", "2026-03-29", "2026-03-30")
AUTUMN = ("Europe/Berlin", "2026-10-25", "2026-10-26")
AUTUMN_AND_AFTER = ("Europe/Berlin", "2026-10-25", "2026-10-27")
LORD_HOWE = ("Australia/Lord_Howe", "2026-04-05", "2026-04-06")
SAO_PAULO = ("America/Sao_Paulo", "2018-11-03T23:00", "2018-11-04T04:00")
AN_HOUR = ("UTC", "2026-01-05T09:00", "2026-01-05T10:00")
# The 1st is a Monday.
JUNE = ("UTC", "2026-06-01", "2026-06-14")
FEBRUARY = ("UTC", "2026-02-01", "2026-04-01")
HALF_HOURS = [f"25 {hour:02}:30" for hour in (0, 1, 2, *range(2, 24))]
ENGINES = (elsewhere.here, elsewhere.cronsim, elsewhere.croniter, elsewhere.apscheduler)
TOLD: list[tuple[str, tuple[str, str, str], Sequence[Told]]] = [
    ("30 2 * * *", SPRING, [["29 03:00"], ["29 03:00"], ["29 03:30"], ["29 03:30"]]),
    ("0,30 2 * * *", SPRING, [["29 03:00"]] * 4),
    ("*/15 2 * * *", SPRING, [[], [], ["29 03:00"], ["29 03:00"]]),
    (
        "30 2 * * *",
        AUTUMN_AND_AFTER,
        [
            ["25 02:30", "26 02:30"],
            ["25 02:30", "26 02:30"],
            ["25 02:30", "26 03:30"],
            ["25 02:30", "25 02:30", "26 02:30"],
        ],
    ),
    ("30 * * * *", AUTUMN, [HALF_HOURS, HALF_HOURS, HALF_HOURS[:3] + HALF_HOURS[5:], HALF_HOURS]),
    (
        "* 8 5 * *",
        LORD_HOWE,
        [[f"05 08:{minute:02}" for minute in range(first, 60)] for first in (0, 30, 30, 0)],
    ),
    (
        "*/42 */2 * * *",
        SAO_PAULO,
        [
            ["04 02:00", "04 02:42"],
            ["04 02:00", "04 02:42"],
            ["04 01:00", "04 02:00", "04 02:42"],
            ["04 02:00", "04 02:42"],
        ],
    ),
    (
        "5-5/2 * * * *",
        AN_HOUR,
        [
            ["05 09:05"],
            [f"05 09:{minute:02}" for minute in range(5, 60, 2)],
            [f"05 09:{minute:02}" for minute in range(0, 60, 2)],
            ValueError,
        ],
    ),
    ("0 0 13 * 5", JUNE, [["05 00:00", "12 00:00", "13 00:00"]] * 3 + [["13 00:00"]]),
    (
        "0 0 */2 * 5",
        JUNE,
        [["05 00:00"]] * 2 + [[f"{day:02} 00:00" for day in (1, 3, 5, 7, 9, 11, 12, 13)], ["13 00:00"]],
    ),
    ("0 0 * * 1", JUNE, [["01 00:00", "08 00:00"]] * 3 + [["02 00:00", "09 00:00"]]),
    ("0 0 31 2 *", FEBRUARY, [ConfigurationError, CronSimError, CroniterBadDateError, []]),
]


@pytest.mark.parametrize(("text", "when", "told"), TOLD)
def test_each_engine_fires_as_the_page_tells(text: str, when: tuple[str, str, str], told: Sequence[Told]) -> None:
    for engine, expected in zip(ENGINES, told, strict=True):
        if isinstance(expected, list):
            assert elsewhere.fires(engine, text, *when) == expected, engine
        else:
            with pytest.raises(expected):
                elsewhere.fires(engine, text, *when)


def test_every_row_about_engines_is_run() -> None:
    assert [row[0].split("`")[0] for row in rows("| schedule | on | here | elsewhere |")] == [text for text, *_ in TOLD]


def test_the_engines_are_those_that_the_page_names() -> None:
    for package in ("croniter", "APScheduler", "cronsim"):
        assert f"{package} {version(package)}" in PAGE


def test_every_name_of_cron_is_on_the_page() -> None:
    assert [name for name in NAMED if f"`{name}`" not in PAGE] == []
