"""What parts are measured with: events that are new each time, the weight of a package, and processes that answer."""

import os
import sys
import zipfile
from itertools import islice
from pathlib import Path

import pytest

from bench.backup import take
from bench.child import result_of
from bench.events import events_of
from bench.package import weigh
from chalicelib.runs.fire import read_fire
from nightshift.project import triggers
from nightshift.project.triggers import Trigger
from tests.docs.pages import ROOT

FUNCTIONS = [each for each in triggers.read(ROOT) if each.kind not in {"expression", "function"}]


@pytest.mark.parametrize("trigger", FUNCTIONS, ids=lambda trigger: trigger.function)
def test_no_function_is_called_twice_with_the_same(trigger: Trigger) -> None:
    first, second = islice(events_of(trigger), 2)
    assert first != second


def test_each_fire_is_for_another_month() -> None:
    digest = next(each for each in FUNCTIONS if each.function == "daily_digest")
    fires = [read_fire(event, now_ms=2**42).scheduled_for for event in islice(events_of(digest), 12)]
    assert len({(fire.year, fire.month) for fire in fires}) == 12


def test_memory_of_a_small_process_is_not_that_of_what_started_it() -> None:
    assert take(["sh", "-c", "echo 1"], os.getpid())["memory"] < 4


def test_a_package_weighs_what_its_parts_weigh(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "package.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (
            "app.py",
            "chalicelib/runs/execution.py",
            "redis/client.py",
            "redis-8.1.0.dist-info/METADATA",
            "six.py",
        ):
            archive.writestr(name, b"x" * 1000)
    parts = weigh(tmp_path / "package.zip")
    assert {name: round(1e6 * part["unzipped"]) for name, part in parts.items()} == {
        "Nightshift": 2000,
        "redis": 2000,
        "six": 1000,
    }
    assert all(part["zipped"] < part["unzipped"] / 10 for part in parts.values())


def test_the_last_line_of_a_process_is_its_result() -> None:
    code = "import json, os, sys; print('a line of log'); print(json.dumps([sys.stdin.read(), os.environ['A']]))"
    assert result_of([sys.executable, "-c", code], given="in", environment={"A": "b"}) == ["in", "b"]


def test_the_reason_of_a_process_that_fails_is_what_the_bench_ends_with() -> None:
    with pytest.raises(SystemExit) as ended:
        result_of([sys.executable, "-c", "raise ValueError('no disk')"])
    assert str(ended.value).splitlines()[-1].endswith("failed: ValueError: no disk")
