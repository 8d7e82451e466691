"""When the doctor warns of a runtime."""

import json
import tomllib
from datetime import date
from importlib.resources import files
from pathlib import Path

from nightshift.project.runtimes import SUPPORTED_UNTIL, assess

PYPROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"


def test_a_runtime_with_years_ahead_is_well() -> None:
    level, text = assess("3.13", date(2026, 12, 1))
    assert (level, text) == ("ok", "3.13, and so is the functions' runtime, which AWS supports until 30 June 2029")


def test_a_runtime_that_ends_within_half_a_year_is_warned_of() -> None:
    assert assess("3.11", date(2026, 12, 31))[0] == "ok"
    level, text = assess("3.11", date(2027, 1, 1))
    assert level == "warning"
    assert text.endswith("until 30 June 2027: make .venv with Python 3.13 or 3.14")
    assert assess("3.14", date(2030, 1, 1))[0] == "warning"


def test_a_python_that_lambda_does_not_run_is_a_problem() -> None:
    assert assess("3.10", date(2026, 12, 1)) == (
        "problem",
        "3.10 is not among 3.11, 3.12, 3.13, 3.14: make .venv with one of these",
    )


def test_the_dates_are_those_that_the_linter_of_templates_knows() -> None:
    known = json.loads((files("cfnlint.data.AdditionalSpecs") / "LmbdRuntimeLifecycle.json").read_text())
    for version, end in SUPPORTED_UNTIL.items():
        assert known[f"python{version}"]["deprecated"] == end.isoformat()


def test_the_project_takes_just_these_versions() -> None:
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    minors = [int(version.partition(".")[2]) for version in SUPPORTED_UNTIL]
    assert project["requires-python"] == f">=3.{min(minors)},<3.{max(minors) + 1}"
