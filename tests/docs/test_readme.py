"""The front page and the comparison: code that runs, versions that are measured, and figures of the page of figures."""

import re
from importlib.metadata import version

import pytest

from bench.rivals.environment import RIVALS
from tests.docs.pages import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMPARISON = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
SPEED = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
OURS = {"Chalice": "chalice", "Powertools": "aws-lambda-powertools"}


@pytest.mark.parametrize(("name", "measured"), RIVALS.items())
def test_a_queue_is_compared_in_the_version_that_was_measured(name: str, measured: str) -> None:
    told = re.findall(rf"\b{name} (\d[\d.]*\d)", COMPARISON, re.IGNORECASE)
    assert told == [measured]
    assert re.findall(rf"^\| {name} (\S+)", SPEED, re.MULTILINE) == [measured, measured]


@pytest.mark.parametrize(("name", "package"), OURS.items())
def test_what_nightshift_stands_on_is_named_in_its_own_version(name: str, package: str) -> None:
    assert re.findall(rf"\b{name} (\d[\d.]*\d)", COMPARISON) == [version(package)]


def test_each_figure_of_speed_is_one_that_the_bench_has_printed() -> None:
    paragraph = re.search(r"^On two cores.+?(?=\n\n)", README, re.MULTILINE | re.DOTALL)
    assert paragraph is not None
    figures = [*re.findall(r"\d[\d,.]*\d", paragraph[0]), *re.findall(r"\d,\d+|(?<=does )\d+", COMPARISON)]
    assert len(figures) > 6
    assert [figure for figure in figures if not re.search(rf"(?<![\d.,]){re.escape(figure)}(?![\d.,]\d)", SPEED)] == []


def test_it_takes_five_minutes() -> None:
    assert README.count("\n") <= 150
