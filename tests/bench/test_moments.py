"""The bench measures the same on every date."""

import ast
from collections import Counter
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path

import pytest

from bench import cold_start, digest
from bench.events import events_of, undue
from bench.moments import NOW, fires
from chalicelib.core.clock import from_ms
from nightshift.demo.blog import make_posts
from nightshift.demo.run import FIRE_HOUR, SEED
from nightshift.project import triggers
from tests.docs.pages import ROOT

# The date of the report, and rows that note when they were written.
WITH_THE_TIME = {"running.py", "guide_loop.py", "sync_ways.py"}
OF_THE_TIME = {"now", "utcnow", "today", "time", "time_ns"}
FULL_ROUNDS, QUICK_ROUNDS = digest.SIZES["rounds"]


def asked_for_the_time(path: Path) -> set[str]:
    """Return what a module calls that tells the time of day: `datetime.now`, `date.today`, `time.time` …"""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    return {
        f"{call.value.id}.{call.attr}"
        for call in calls
        if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name) and call.attr in OF_THE_TIME
        if call.value.id in {"datetime", "date", "time"}
    }


@pytest.mark.parametrize("path", sorted((ROOT / "bench").rglob("*.py")), ids=lambda path: path.name)
def test_no_part_asks_for_the_date(path: Path) -> None:
    asked = asked_for_the_time(path)
    assert asked <= ({"datetime.now", "time.time_ns"} if path.name in WITH_THE_TIME else set())


def test_what_asks_for_the_date_is_found(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("NOW = datetime.now(UTC) - timedelta(days=date.today().day)\nbegan = time.perf_counter()\n")
    assert asked_for_the_time(module) == {"datetime.now", "date.today"}


@pytest.mark.parametrize("rounds", [FULL_ROUNDS, QUICK_ROUNDS])
@pytest.mark.parametrize("post_count", digest.SIZES["posts"])
def test_each_fire_of_the_digest_has_posts_to_tell_of(rounds: int, post_count: int) -> None:
    posts = make_posts(post_count, until=NOW, days=digest.DAYS, seed=SEED)
    days = Counter(from_ms(post["created_at"]).date() for post in posts)
    for fire in fires(2 * rounds, hour=FIRE_HOUR):
        assert fire <= NOW
        assert days[date.fromordinal(fire.toordinal() - 1)] > 0


def test_each_fire_of_a_cold_start_has_posts_to_tell_of() -> None:
    function = next(each for each in triggers.read(ROOT) if each.function == "daily_digest")
    # Two events a call, of the function and of its uncompiled twin, and one more round to warm up.
    count = 2 * 2 * (max(cold_start.SIZES["rounds"]) + 1)
    last = list(islice(events_of(function), count))[-1]["scheduled_for"]
    assert (NOW - datetime.fromisoformat(last)).days < cold_start.DAYS


def test_a_fire_that_is_to_be_dropped_is_of_no_schedule() -> None:
    moments = [event["time"] for event in islice(undue(), 40)]
    assert all(datetime.fromisoformat(moment).astimezone(UTC).minute == 59 for moment in moments)
